"""A container engine: a real one where there is one, and a played one."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.fakes.container_engine import PlayedEngine, run_engine

if TYPE_CHECKING:
    from pipelines.runners.engine import Engine


@pytest.fixture(scope="session")
def engine() -> "Iterator[Engine]":
    """A real engine with the images of this code; a test is skipped where there is none, but fails in CI."""
    # Loaded here: few tests need it.
    from components import STEPS_IMAGE, TRAINER_IMAGE
    from pipelines import container_images
    from pipelines.runners.docker import require_image
    from pipelines.runners.engine import open_engine
    from pipelines.runners.engine_connection import EngineError

    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(open_engine())
            for name in (STEPS_IMAGE, TRAINER_IMAGE):
                require_image(engine, container_images.local_reference(name))
        except EngineError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield engine


@pytest.fixture
def played_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedEngine]:
    """An engine without images, at the address that DOCKER_HOST names."""
    with run_engine() as played:
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("DOCKER_HOST", played.address)
        yield played
