"""One played Vertex AI for each module, and one compiled pipeline for all of them."""

from collections.abc import Iterator

import pytest

from pipelines.compilation import Job
from tests.fakes.vertex.server import VertexServer, shorten_waits
from tests.pipelines.platforms.vertex.clients import make_job


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VertexServer]:
    with pytest.MonkeyPatch.context() as patch, VertexServer(tmp_path_factory.mktemp("vertex")) as server:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        shorten_waits(patch)
        yield server


@pytest.fixture
def server(shared_server: VertexServer) -> VertexServer:
    """A played Vertex AI without runs, schedules and faults. Its clients and their tokens outlive a test."""
    shared_server.reset()
    shared_server.network.accept()
    return shared_server


@pytest.fixture
def job() -> Job:
    return make_job()
