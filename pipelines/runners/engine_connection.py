"""Connect to the Docker Engine, or to Podman with the same API, and explain in one line why it fails."""

import os
import shutil
from pathlib import Path

import docker
import docker.errors
import requests

from components.mnist.errors import MnistError, chain, describe

SECONDS_TO_CONNECT = 10
SECONDS_TO_ANSWER = 300  # creating a container can wait for a slow disk


class EngineError(MnistError):
    """There is no usable container engine, or it refuses a request."""


def connect() -> tuple[docker.DockerClient, str]:
    """Connect to the engine of DOCKER_HOST or CONTAINER_HOST, else to the first one found on this machine.

    Returns:
        A client, which the caller closes, and the engine's address.

    Raises:
        EngineError: No engine is installed or running, or this user may not use it.
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
        causes = list(chain(error))
        if any(isinstance(cause, PermissionError) for cause in causes):
            advice = "Join its group, then log in again: sudo usermod -aG docker $USER"
        elif not address.startswith("unix://"):
            advice = "Check DOCKER_HOST or CONTAINER_HOST."
        elif any(shutil.which(command) for command in ("docker", "podman", "dockerd")):
            advice = (
                "Start it: sudo systemctl start docker (or Docker Desktop; for Podman: systemctl --user start "
                "podman.socket)"
            )
        else:
            advice = (
                "Install Docker Engine (https://docs.docker.com/engine/install/) or Podman, or run without: --on local."
            )
        raise EngineError(f"No container engine answers at {address}: {describe(causes[-1])}. {advice}") from error
    client.api.timeout = SECONDS_TO_ANSWER
    return client, address


def _find_address() -> str:
    if address := os.environ.get("DOCKER_HOST") or os.environ.get("CONTAINER_HOST"):
        return address
    try:
        context = docker.context.ContextAPI.get_current_context()
    except Exception as error:  # depends on the content of Docker's configuration files
        raise EngineError(f"Docker's current context cannot be read: {error}. See: docker context ls") from error
    address = str(context.Host) if context else "unix:///var/run/docker.sock"
    if not address.startswith("unix://") or Path(address.removeprefix("unix://")).exists():
        return address
    own = Path(os.environ.get("XDG_RUNTIME_DIR") or "/run")  # of rootless engines
    sockets = [own / "docker.sock", own / "podman/podman.sock", Path("/run/podman/podman.sock")]
    return next((f"unix://{socket}" for socket in sockets if socket.exists()), address)
