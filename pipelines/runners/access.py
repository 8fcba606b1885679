"""Decide a container's access to this machine: files and folders, network, memory. As little as the step needs.

Knows steps and their inputs, not the engine.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from docker.types import Mount
from docker.utils import parse_bytes

from components.mnist.errors import MnistError, SettingError
from pipelines.run_folder import StepError
from pipelines.runners.orchestration import Task
from pipelines.steps import STEPS, Step

MEMORY = "MNIST_MEMORY"

# The working directory of a step; for `..` in a relative path, folders are added below it.
FOLDER = "/here"
NETWORK_SCHEMES = ("gs", "http", "https")
# Variables for downloads: proxies, another address of MNIST, another Google Cloud Storage.
NETWORK_VARIABLES = (
    *(name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())),
    "MNIST_URL",
    "MNIST_SHA256",
    "STORAGE_EMULATOR_HOST",
)


@dataclass
class Access:
    """A step's access to this machine, besides its own outputs.

    Attributes:
        source: The parameter `source` for the container; None for steps without it.
        folder: The working directory, in which relative paths name the same files as on this machine.
        mounts: Bind mounts, all read-only.
    """

    source: str | None = None
    folder: str = FOLDER
    mounts: list[Mount] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    network: bool = False


def find_access(task: Task) -> Access:
    """Decide a step's access from its inputs.

    Raises:
        StepError: Its source is not on this machine.
    """
    access = Access()
    for path in task.input_paths():
        if path.is_absolute() and path.exists():  # metrics without a file are only in KFP's metadata
            access.mounts.append(bind_mount(path, read_only=True))
    if task.name in STEPS and STEPS[task.name].reads_source:
        _allow_source(access, task)
    return access


def bind_mount(path: Path, target: str = "", *, read_only: bool) -> Mount:
    """Mount a file or folder of this machine in the container, by default at the same path.

    Args:
        path: An absolute path that exists.
    """
    return Mount(target or str(path), str(path), type="bind", read_only=read_only)


def memory_bytes(step: str) -> int:
    """Return a step's limit of memory: MNIST_MEMORY, or that of the table of steps (K, M, G, T: powers of 1024).

    Raises:
        SettingError: MNIST_MEMORY is not a valid size.
    """
    size = os.environ.get(MEMORY)
    if not size:
        return int(parse_bytes(STEPS[step].memory if step in STEPS else Step.memory))
    try:
        limit = int(parse_bytes(size))
    except Exception:  # the SDK's errors, and Python's
        limit = 0
    if limit < 64 * 2**20:
        raise SettingError(f"{MEMORY}={size}: expected the memory of a step's container, as in 4g or 512m.")
    return limit


def _allow_source(access: Access, task: Task) -> None:
    """Give ingest access to its source."""
    source = access.source = str(task.executor_input()["inputs"]["parameterValues"]["source"]).strip()
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source):
        scheme = found[1].lower()
        access.network = scheme in NETWORK_SCHEMES
        configuration = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
        given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        credentials = Path(given or configuration / "application_default_credentials.json").absolute()
        if scheme == "gs" and credentials.is_file():  # the step uses the user's Google credentials
            access.mounts.append(bind_mount(credentials, read_only=True))
            access.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(credentials)
    elif source == "mnist":
        folder = os.environ.get("MNIST_DATA_DIR") or "data"
        access.environment["MNIST_DATA_DIR"] = folder
        if (file := Path(folder, "mnist.npz")).exists():
            _allow_path(access, str(file))
        else:
            access.network = True
    elif source != "sample":
        # Imported late: only needed for a path, for the message if it is missing.
        from components.mnist.data.sources import locate

        try:
            locate(source, Path())
        except MnistError as error:
            raise StepError(task.name, str(error), log=task.log) from error
        if source.startswith("~"):  # the container has another home
            access.source = str(Path(source).expanduser())
        _allow_path(access, access.source)
    if access.network:
        access.environment.update({name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ})


def _allow_path(access: Access, path: str) -> None:
    """Mount a path at the path that the user gave, so that reports and errors show that path."""
    access.folder = FOLDER + "/up" * Path(path).parts.count("..")
    target = os.path.normpath(Path(access.folder, path))
    access.mounts.append(bind_mount(Path(path).resolve(), target, read_only=True))
