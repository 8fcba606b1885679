"""One container from its creation to its removal, against a played engine; `test_docker.py` has a real one."""

import signal
import threading
from collections.abc import Iterator

import pytest

from pipelines.runners.engine import Engine, open_engine
from pipelines.runners.engine_connection import EngineError
from tests.fakes.container_engine import PlayedEngine


@pytest.fixture
def engine(played_engine: PlayedEngine) -> Iterator[Engine]:
    with open_engine() as engine:
        yield engine


def run(engine: Engine) -> None:
    assert engine.run("image", ["true"], name="mnist-x", memory_bytes=2**30).code == 0


def test_the_output_is_attached_before_the_start_so_that_not_a_byte_is_lost(
    played_engine: PlayedEngine, engine: Engine
) -> None:
    run(engine)
    assert played_engine.actions == ["create", "attach", "start", "wait", "remove"]


def test_a_full_disk_of_the_engine_is_called_that(played_engine: PlayedEngine, engine: Engine) -> None:
    # As Docker 20.10 answers.
    played_engine.refusals["create"] = (500, "mkdir /var/lib/docker/overlay2/8f5a-init: no space left on device")
    with pytest.raises(
        EngineError, match=r"refuses: mkdir .*: no space left on device\. See its use: docker system df"
    ) as error:
        run(engine)
    assert "\n" not in str(error.value)


def test_a_container_that_cannot_start_is_removed(played_engine: PlayedEngine, engine: Engine) -> None:
    played_engine.refusals["start"] = (500, "exec: sh: not found")
    with pytest.raises(EngineError, match=r"The container engine refuses: exec: sh: not found\."):
        run(engine)
    assert played_engine.containers == []


def test_an_interruption_during_the_creation_leaves_no_container(played_engine: PlayedEngine, engine: Engine) -> None:
    main = threading.main_thread()
    played_engine.on_create = lambda: signal.pthread_kill(main.ident or 0, signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(engine)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "start" not in played_engine.actions
    assert played_engine.containers == []


def test_a_container_that_somebody_else_is_removing_is_waited_for(played_engine: PlayedEngine, engine: Engine) -> None:
    played_engine.refusals["remove"] = (409, "removal of container c0 is already in progress")
    run(engine)
    assert played_engine.containers == []


def test_a_container_that_cannot_be_removed_is_named(played_engine: PlayedEngine, engine: Engine) -> None:
    played_engine.refusals["remove"] = (500, "driver failed to remove root filesystem")
    with pytest.raises(EngineError, match=r"failed to remove .*\. Remove .* if it is left: docker rm --force mnist-x-"):
        run(engine)
    played_engine.containers.clear()
