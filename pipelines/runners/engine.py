"""Query a container engine, and run a container in it so that nothing is left behind.

Knows neither pipelines nor steps.
"""

import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import docker
import docker.errors
import requests
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Mount

from components.mnist.errors import describe
from components.mnist.training.devices import GPU_FILES
from pipelines.runners.engine_connection import EngineError, connect
from pipelines.runners.streams import read_lines

# Every container of this project has this label: docker ps --all --filter label=mnist-pipeline.step
LABEL = "mnist-pipeline.step"
SECONDS_TO_REMOVE = 20
TMP_BYTES = 512 * 2**20  # of /tmp, the only writable folder outside the mounts


@dataclass(frozen=True)
class Exit:
    """The end of a container: its exit code, and whether the kernel killed a process in it for lack of memory."""

    code: int
    out_of_memory: bool


@contextlib.contextmanager
def open_engine() -> Iterator["Engine"]:
    """Connect to this machine's container engine, until the block ends.

    Raises:
        EngineError: No engine is installed or running, or this user may not use it.
    """
    client, address = connect()
    with contextlib.closing(client):
        yield Engine(client, address)


class Engine:
    """A running container engine.

    Args:
        client: A connected client.
        address: The engine's address, for messages.
    """

    def __init__(self, client: docker.DockerClient, address: str) -> None:
        self.client = client
        self.address = address
        with self.errors_explained():
            info = client.info()
        security = " ".join(info.get("SecurityOptions") or [])
        self._is_rootless = "rootless" in security or bool(info.get("Rootless"))  # Docker's field, Podman's field
        self._has_selinux = "selinux" in security
        self.is_local = address.startswith("unix://")
        # A hint only: an installed driver need not work.
        self.hints_at_gpu = "nvidia" in (info.get("Runtimes") or {}) or (
            self.is_local and any(Path(file).exists() for file in GPU_FILES)
        )

    @contextlib.contextmanager
    def errors_explained(self, *, advice: str = "") -> Iterator[None]:
        """Translate the client's exceptions into an `EngineError` of one line, followed by `advice`."""
        try:
            yield
        except docker.errors.APIError as error:
            answer = " ".join(str(error.explanation or error).split()).rstrip(".")
            if "no space left on device" in answer.lower():
                advice = " See its use: docker system df; remove unused data: docker system prune." + advice
            raise EngineError(f"The container engine refuses: {answer}.{advice}") from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise EngineError(
                f"The container engine at {self.address} disappeared: {describe(error)}.{advice}"
            ) from error

    def find_image(self, reference: str) -> Mapping[str, str] | None:
        """Return the labels of an image; None if it does not exist."""
        with self.errors_explained():
            try:
                return dict(self.client.images.get(reference).labels)
            except docker.errors.ImageNotFound:
                return None

    def try_gpu(self, image: str) -> str:
        """Start a container of this image with the engine's NVIDIA GPUs.

        Returns:
            The reason why it gets none; empty if it gets one.
        """
        command = ["sh", "-c", " || ".join(f"test -e {file}" for file in GPU_FILES)]
        try:
            found = self.run(image, command, name="mnist-gpu", memory_bytes=2**30, gpu=True).code == 0
        except EngineError as error:
            return str(error)
        # Podman before version 5 accepts the request for a GPU and ignores it.
        return "" if found else f"The container engine at {self.address} gives containers no NVIDIA GPU."

    def run(
        self,
        image: str,
        command: list[str],
        *,
        name: str,
        memory_bytes: int,
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        mounts: list[Mount] | None = None,
        network: bool = False,
        gpu: bool = False,
        follow: Callable[[Iterable[str]], None] | None = None,
    ) -> Exit:
        """Run a container to its end, and always remove it afterwards, even if it is still running.

        Args:
            command: Program and arguments; the image's entry point is not used.
            name: The prefix of the container's unique name.
            memory_bytes: Limit of memory, files in /tmp included; there is no swap.
            folder: The working directory.
            mounts: Bind mounts of files and folders of this machine.
            network: Whether the container has a network.
            gpu: Whether it gets all NVIDIA GPUs of the engine.
            follow: Called with the iterator of its lines of output, each available as soon as it is complete.

        Raises:
            EngineError: The container cannot be started; or it, or the engine, disappeared.
        """
        unique_name = f"{name}-{uuid.uuid4().hex[:8]}"
        # As little as possible is writable, permitted or kept.
        options = {
            "name": unique_name,
            "labels": {LABEL: name},
            "working_dir": folder,
            "environment": environment,
            "mounts": mounts,
            "read_only": True,
            "tmpfs": {"/tmp": f"size={TMP_BYTES},mode=1777"},
            "mem_limit": memory_bytes,
            "memswap_limit": memory_bytes,
            "network_mode": None if network else "none",
            "device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])] if gpu else None,
            "cap_drop": ["ALL"],
            # Relabelling a user's data for SELinux would affect other programs.
            "security_opt": ["no-new-privileges", *(["label=disable"] if self._has_selinux else [])],
            # In a rootless engine, root is the user who runs it; other users have no access to this machine's files.
            "user": "0:0" if self._is_rootless else f"{os.getuid()}:{os.getgid()}",
            "group_add": None if self._is_rootless else [str(group) for group in os.getgroups()],
            "log_config": LogConfig(type="none"),
        }
        container: Container = None
        try:
            # An interruption between the creation and the engine's answer would leave the container behind.
            with self.errors_explained(), _uninterrupted():
                container = self.client.containers.create(image, command[1:], entrypoint=command[:1], **options)
            with self.errors_explained():
                # Attached before the start, so that no output is lost; unlike the engine's log, it works with every log
                # driver and stores nothing on the engine's disk.
                frames = container.attach(stream=True, demux=True)
                container.start()
            if follow:
                follow(read_lines(frames))
            with self.errors_explained():
                try:
                    code = int(container.wait()["StatusCode"])
                    container.reload()
                except docker.errors.NotFound:  # a removed container has not succeeded
                    raise EngineError("the step's container was removed while it ran.") from None
            return Exit(code, out_of_memory=bool(container.attrs["State"].get("OOMKilled")))
        finally:
            if container:
                advice = f" Remove the container if it is left: docker rm --force {unique_name}"
                with self.errors_explained(advice=advice), _uninterrupted():
                    _remove(container)


def _remove(container: Container) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        try:
            container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            # It is being removed already.
            container.wait(condition="removed", timeout=SECONDS_TO_REMOVE)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer SIGINT, SIGTERM and SIGHUP until the block, which is short, ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, lambda number, _: caught.append(number)) for each in numbers}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in caught[:1]:
            signal.raise_signal(number)
