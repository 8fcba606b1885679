"""Find the Docker Engine, or Podman behind the same API, and say in one line what is wrong when it can't be had."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import requests

from components.mnist.errors import MnistError

SECONDS_TO_CONNECT = 10
SECONDS_TO_ANSWER = 300  # making a container can wait for a slow disk
INSTALL = "Install Docker Engine (https://docs.docker.com/engine/install/) or Podman, or run without: --on local."


class EngineError(MnistError):
    """No container engine, or it refuses what is asked of it."""


def connect() -> tuple[docker.DockerClient, str]:
    """Connect to the engine that DOCKER_HOST or CONTAINER_HOST names, else to the first that is found here.

    Returns:
        A client, which the caller closes, and the engine's address.

    Raises:
        EngineError: None is installed, none runs, or this user may not talk to it.
    """
    address = _find_address()
    try:
        client = docker.from_env(
            version="auto",
            timeout=SECONDS_TO_CONNECT,
            use_ssh_client=address.startswith("ssh://"),
            environment={**os.environ, "DOCKER_HOST": address},
        )
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
        raise EngineError(_explain_silence(address, error)) from error
    client.api.timeout = SECONDS_TO_ANSWER
    return client, address


@contextlib.contextmanager
def explained(address: str, *, advice: str = "") -> Iterator[None]:
    """Turn what the client raises into one line; `advice` is added to it."""
    try:
        yield
    except docker.errors.APIError as error:
        words = _spell(error.explanation or error)
        if "no space left on device" in words.lower():
            raise EngineError(
                f"The container engine's disk is full: {words}. See what takes it: docker system df; remove what is "
                f"unused: docker system prune.{advice}"
            ) from error
        raise EngineError(f"The container engine refuses: {words}.{advice}") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineError(f"The container engine at {address} went away: {_spell(error)}.{advice}") from error


def _find_address() -> str:
    for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
        if address := os.environ.get(variable):
            return address
    try:
        context = docker.context.ContextAPI.get_current_context()
    except Exception as error:  # whatever the files of Docker's command hold
        raise EngineError(f"Docker's current context cannot be read: {error}. See: docker context ls") from error
    address = str(context.Host) if context else "unix:///var/run/docker.sock"
    sockets = [
        Path(os.environ.get("XDG_RUNTIME_DIR") or "/run", name) for name in ("docker.sock", "podman/podman.sock")
    ]
    found = [f"unix://{socket}" for socket in [*sockets, Path("/run/podman/podman.sock")] if socket.exists()]
    default = address.removeprefix("unix://")
    if address.startswith("unix://") and not Path(default).exists():
        return found[0] if found else address
    return address


def _explain_silence(address: str, error: Exception) -> str:
    """Say why an engine does not answer, and what to do."""
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return (
            f"No permission to talk to the container engine at {address}. Join its group, then log in again: "
            "sudo usermod -aG docker $USER"
        )
    if address.startswith("unix://"):
        if not (shutil.which("docker") or shutil.which("podman") or shutil.which("dockerd")):
            return f"No container engine here: nothing at {address}, and no docker or podman command. {INSTALL}"
        return (
            f"The container engine does not run: nothing answers at {address}. Start it: sudo systemctl start docker "
            "(or Docker Desktop; for Podman: systemctl --user start podman.socket)"
        )
    return f"No container engine answers at {address}: {_spell(causes[-1])}. Check DOCKER_HOST or CONTAINER_HOST."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it wraps, the innermost last; HTTP libraries keep the reason in the arguments."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _spell(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
