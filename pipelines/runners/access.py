"""What of this machine a step's container may use: files and folders, network, memory. As little as its work needs.

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

# The working directory of a step; `..` in a relative path needs folders above it.
FOLDER = "/here"
NETWORK_SCHEMES = ("gs", "http", "https")
# What a download depends on: proxies, another address of MNIST, another Google Cloud Storage.
NETWORK_VARIABLES = (
    *(name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())),
    "MNIST_URL",
    "MNIST_SHA256",
    "STORAGE_EMULATOR_HOST",
)


@dataclass
class Access:
    """What a step may use besides its own outputs.

    Attributes:
        source: The parameter `source` as the container has to read it; None for steps without.
        folder: The working directory: relative paths lead to the same files as on this machine.
        mounts: Bind mounts, all read-only.
    """

    source: str | None = None
    folder: str = FOLDER
    mounts: list[Mount] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    network: bool = False


def find_access(task: Task) -> Access:
    """Decide what a step may use, from its inputs.

    Raises:
        StepError: Its source is not on this machine.
    """
    access = Access()
    for path in task.input_paths():
        if path.is_absolute() and path.exists():  # metrics without a file are only in KFP's own record
            access.mounts.append(bind_mount(path, read_only=True))
    if task.name in STEPS and STEPS[task.name].reads_source:
        _allow_source(access, task)
    return access


def bind_mount(path: Path, target: str = "", *, read_only: bool) -> Mount:
    """A file or folder of this machine inside the container, by default under its own path.

    Args:
        path: Absolute; it must exist.
    """
    return Mount(target or str(path), str(path), type="bind", read_only=read_only)


def memory_bytes(step: str) -> int:
    """What a step may use: as in the table of steps, where K, M, G and T are powers of 1024, or MNIST_MEMORY.

    Raises:
        SettingError: MNIST_MEMORY is set, but not to a size.
    """
    size = os.environ.get(MEMORY)
    if not size:
        return int(parse_bytes(STEPS[step].memory if step in STEPS else Step.memory))
    try:
        limit = int(parse_bytes(size))
    except Exception:  # the SDK's own errors, and Python's
        limit = 0
    if limit < 64 * 2**20:
        raise SettingError(f"{MEMORY}={size}: expected the memory of a step's container, as in 4g or 512m.")
    return limit


def _allow_source(access: Access, task: Task) -> None:
    """Let ingest read its source, wherever that is."""
    source = access.source = str(task.executor_input()["inputs"]["parameterValues"]["source"]).strip()
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source):
        scheme = found[1].lower()
        access.network = scheme in NETWORK_SCHEMES
        configuration = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
        given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        credentials = Path(given or configuration / "application_default_credentials.json").absolute()
        if scheme == "gs" and credentials.is_file():  # the step signs in to Google Cloud as the user who runs it
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
        # Imported late: only a source of the user's own needs it, for its message when a file is missing.
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
    """Mount a path under the name by which it was given, so that reports and errors show that name."""
    access.folder = FOLDER + "/up" * Path(path).parts.count("..")
    target = os.path.normpath(Path(access.folder, path))
    access.mounts.append(bind_mount(Path(path).resolve(), target, read_only=True))
