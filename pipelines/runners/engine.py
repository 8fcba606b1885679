"""Ask a container engine, and run one container in it so that nothing is left behind.

Knows neither pipelines nor steps.
"""

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import docker
import docker.errors
from docker.types import DeviceRequest, LogConfig, Mount

from pipelines.runners.engine_connection import EngineError, connect, explained
from pipelines.runners.streams import read_lines

# Every container of ours bears it: docker ps --all --filter label=mnist-pipeline.step
LABEL = "mnist-pipeline.step"
SECONDS_TO_GO = 20.0
# A GPU reaches a container as one of these: NVIDIA's driver on Linux, and under Windows.
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")


@dataclass(frozen=True)
class Bind:
    """A file or folder of this machine inside the container.

    Attributes:
        source: Absolute; it must be there.
        target: Absolute.
    """

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True)
class Request:
    """One container to run.

    Attributes:
        name: Begins its name; the rest makes it unique.
        command: Words; the image's own entry point is not used.
        folder: Where the command starts.
        memory_bytes: What it may use, files in /tmp included; there is no swap beyond.
        tmp_bytes: Size of /tmp, the one place outside the binds that can be written.
        network: Whether it has one.
        gpu: Whether it gets every NVIDIA GPU of the engine.
    """

    name: str
    image: str
    command: list[str]
    folder: str
    environment: Mapping[str, str]
    binds: tuple[Bind, ...]
    memory_bytes: int
    tmp_bytes: int
    network: bool
    gpu: bool


@dataclass(frozen=True)
class Ended:
    """How a container ended: its exit code, and whether the kernel killed something in it for memory."""

    code: int
    out_of_memory: bool


class Container:
    """A container that runs. Its lines end when it has closed its output; `wait` tells how it ended."""

    def __init__(self, engine: "Engine", identity: str, frames: Iterator[tuple[bytes | None, bytes | None]]) -> None:
        self._engine = engine
        self._identity = identity
        self._frames = frames

    def lines(self) -> Iterator[str]:
        """Every line as soon as it is whole, standard output and standard error kept apart until then."""
        lines = read_lines(self._frames)
        while True:
            with self._engine.explained():
                line = next(lines, None)
            if line is None:
                return
            yield line

    def wait(self) -> Ended:
        """Wait for the end; a container that is gone has not succeeded.

        Raises:
            EngineError: The container or the engine went away.
        """
        api = self._engine.client.api
        with self._engine.explained():
            try:
                code = int(api.wait(self._identity, timeout=None)["StatusCode"])
                state = api.inspect_container(self._identity)["State"]
            except docker.errors.NotFound:
                raise EngineError("the step's container was removed by somebody while it ran.") from None
        return Ended(code, out_of_memory=bool(state.get("OOMKilled")))


@contextlib.contextmanager
def open_engine() -> Iterator["Engine"]:
    """Find this machine's container engine and stay connected to it.

    Raises:
        EngineError: None is installed, none runs, or this user may not talk to it.
    """
    client, address = connect()
    with contextlib.closing(client):
        yield Engine(client, address)


class Engine:
    """A container engine that answers.

    Args:
        client: Connected.
        address: Where it listens, for messages.
    """

    def __init__(self, client: docker.DockerClient, address: str) -> None:
        self.client = client
        self.address = address
        with self.explained():
            info = client.info()
        options = " ".join(info.get("SecurityOptions") or [])
        self._is_rootless = "rootless" in options or bool(info.get("Rootless"))  # Docker's way, Podman's way
        self._has_selinux = "selinux" in options
        self.is_local = address.startswith("unix://")
        # Worth trying, and no more: what is installed need not work.
        self.hints_at_gpu = "nvidia" in (info.get("Runtimes") or {}) or (
            self.is_local and any(Path(file).exists() for file in GPU_FILES)
        )

    def explained(self, *, advice: str = "") -> contextlib.AbstractContextManager[None]:
        """Turn what the client raises into an `EngineError` of one line; `advice` is added to it."""
        return explained(self.address, advice=advice)

    def find_image(self, reference: str) -> Mapping[str, str] | None:
        """The labels of an image; None when it is not there."""
        with self.explained():
            try:
                return dict(self.client.images.get(reference).labels)
            except docker.errors.ImageNotFound:
                return None

    def list_tags(self, name: str) -> list[str]:
        """Every image there is of this name, with its tag."""
        with self.explained():
            return sorted(tag for image in self.client.images.list(name=name) for tag in image.tags)

    def try_gpu(self, image: str) -> str:
        """Start a container of this image with the engine's NVIDIA GPUs.

        Returns:
            Why it gets none; empty when it gets one.
        """
        request = Request(
            name="mnist-gpu",
            image=image,
            command=["sh", "-c", " || ".join(f"test -e {file}" for file in GPU_FILES)],
            folder="/",
            environment={},
            binds=(),
            memory_bytes=2**30,
            tmp_bytes=2**20,
            network=False,
            gpu=True,
        )
        try:
            with self.run(request) as container:
                found = container.wait().code == 0
        except EngineError as error:
            return str(error)
        # Podman before version 5 takes the wish for a GPU and forgets it.
        return "" if found else f"The container engine at {self.address} gives containers no NVIDIA GPU."

    @contextlib.contextmanager
    def run(self, request: Request) -> Iterator[Container]:
        """Start a container, and remove it afterwards whatever happens, running or not.

        Raises:
            EngineError: It cannot be started.
        """
        name = f"{request.name}-{uuid.uuid4().hex[:8]}"
        api = self.client.api
        identity = ""
        try:
            # An interruption between the making and our hearing of it would leave the container behind.
            with self.explained(), _uninterrupted():
                identity = self._create(request, name)
            with self.explained():
                # Before the start, so that not a byte is missed; unlike the engine's log it works with every log
                # driver and keeps nothing on the engine's disk.
                frames = api.attach(identity, stream=True, demux=True)
                api.start(identity)
            yield Container(self, identity, frames)
        finally:
            if identity:
                with self.explained(advice=f" Remove what may be left: docker rm --force {name}"), _uninterrupted():
                    self._remove(identity)

    def _create(self, request: Request, name: str) -> str:
        api = self.client.api
        host = api.create_host_config(
            mounts=[Mount(bind.target, str(bind.source), "bind", bind.read_only) for bind in request.binds],
            tmpfs={"/tmp": f"size={request.tmp_bytes},mode=1777"},
            read_only=True,
            cap_drop=["ALL"],
            # Relabelling somebody's data for SELinux would change it for everybody else.
            security_opt=["no-new-privileges"] + (["label=disable"] if self._has_selinux else []),
            network_mode=None if request.network else "none",
            mem_limit=request.memory_bytes,
            memswap_limit=request.memory_bytes,
            group_add=None if self._is_rootless else [str(group) for group in os.getgroups()],
            device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])] if request.gpu else None,
            log_config=LogConfig(type="none"),
        )
        created = api.create_container(
            request.image,
            entrypoint=request.command[:1],
            command=request.command[1:],
            name=name,
            # In a rootless engine its root is who runs it, and every other user somebody who owns nothing here.
            user="0:0" if self._is_rootless else f"{os.getuid()}:{os.getgid()}",
            working_dir=request.folder,
            environment=dict(request.environment),
            labels={LABEL: request.name},
            host_config=host,
        )
        return str(created["Id"])

    def _remove(self, identity: str) -> None:
        deadline = time.monotonic() + SECONDS_TO_GO
        while True:
            try:
                return self.client.api.remove_container(identity, force=True, v=True)
            except docker.errors.NotFound:
                return None
            except docker.errors.APIError as error:
                # Somebody else is removing it: see that it goes.
                if error.status_code != HTTPStatus.CONFLICT or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C, a plain kill and a closed terminal until this is done; it takes moments."""
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
