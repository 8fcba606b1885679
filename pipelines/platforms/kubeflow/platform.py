"""Kubeflow's row of the table of platforms. Its client takes seconds to import, so it is imported when needed."""

from pipelines.checks import Check
from pipelines.platforms.base import Platform, PlatformClient
from pipelines.platforms.kubeflow.profile import KubeflowProfile


def _connect(profile: KubeflowProfile) -> PlatformClient:
    from pipelines.platforms.kubeflow.client import Kubeflow

    return Kubeflow(profile)


def _list_checks(profile: KubeflowProfile) -> list[Check]:
    from pipelines.platforms.kubeflow import checks

    return checks.for_profile(profile)


PLATFORM = Platform(KubeflowProfile, _connect, _list_checks)
