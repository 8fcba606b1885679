"""Without an engine, one line says why; on real sockets."""

import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.runners.engine_connection import EngineError, connect
from tests.fakes.container_engine import PlayedEngine

NOBODY = 65534


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no engine was ever set up, as far as the environment says."""
    for name in ("DOCKER_HOST", "CONTAINER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def listen(path: Path) -> socket.socket:
    """A socket on which nobody answers: it has just been closed, or is about to be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def test_without_any_engine_it_says_what_to_install(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bare}/docker.sock")
    with pytest.raises(EngineError, match=r"No container engine answers at unix.*Install Docker.*--on local"):
        connect()


def test_an_installed_engine_that_does_not_run_is_to_be_started(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "docker").write_text("#!/bin/sh\n")
    (bare / "docker").chmod(0o755)
    listen(bare / "engine.sock").close()  # what a killed engine leaves behind
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bare}/engine.sock")
    with pytest.raises(EngineError, match=r"No container engine answers at .*engine\.sock: .*systemctl start docker"):
        connect()


def test_without_permission_it_names_the_group() -> None:
    # Becomes somebody else after the imports: where Python lies, nobody else may read.
    program = (
        "import os, traceback\nfrom pipelines.runners.engine_connection import EngineError, connect\n"
        f"os.getuid() or (os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY}))\n"
        "try:\n    connect()\nexcept EngineError as error:\n    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as name, closing(listen(Path(name, "engine.sock"))) as server:
        server.listen()
        Path(name).chmod(0o755)
        Path(name, "engine.sock").chmod(0)
        finished = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env={"DOCKER_HOST": f"unix://{name}/engine.sock", "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert "engine.sock: Permission denied" in finished.stdout, finished.stderr
    assert "sudo usermod -aG docker $USER" in finished.stdout


def test_an_address_where_nobody_answers_is_named_with_its_variable(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))  # taken, so that no other program can answer there, but it does not listen
        port = silent.getsockname()[1]
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        with pytest.raises(EngineError, match=rf"answers at tcp://127\.0\.0\.1:{port}: .*refused.*Check DOCKER_HOST"):
            connect()


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "ftp://host"])
def test_an_address_that_is_none_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineError, match=rf"No container engine answers at {address}: .*Check DOCKER_HOST"):
        connect()


def test_podmans_variable_is_read_too(played_engine: PlayedEngine, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_HOST", played_engine.address)
    client, found = connect()
    client.close()
    assert found == played_engine.address
