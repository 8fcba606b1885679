"""Vertex AI's row of the table of platforms. Its client takes seconds to import, so it is imported when needed."""

from pipelines.checks import Check
from pipelines.platforms.base import Platform, PlatformClient
from pipelines.platforms.vertex.profile import VertexProfile


def _connect(profile: VertexProfile) -> PlatformClient:
    from pipelines.platforms.vertex.client import Vertex

    return Vertex(profile)


def _list_checks(profile: VertexProfile) -> list[Check]:
    from pipelines.platforms.vertex import checks

    return checks.for_profile(profile)


PLATFORM = Platform(VertexProfile, _connect, _list_checks)
