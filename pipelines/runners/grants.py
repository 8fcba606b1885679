"""What of this machine a step's container gets: files and folders, network, memory. As little as its work needs.

Knows steps and their inputs, no engine.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from docker.utils import parse_bytes

from components.mnist.errors import MnistError, SettingError
from pipelines.run_folder import StepError
from pipelines.runners.engine import Bind
from pipelines.runners.orchestration import Task

MEMORY = "MNIST_MEMORY"
MEMORY_BYTES = {"train": 8 * 2**30}
MEMORY_BYTES_OTHERS = 2 * 2**30

# A step starts in a folder of which only this much is known; `..` in a relative path must have somewhere to lead.
FOLDER = "/here"
NETWORK_SCHEMES = ("gs", "http", "https")
# What reaches a download from here: proxies, another address of MNIST, another Google Cloud Storage.
NETWORK_VARIABLES = (
    *(name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())),
    "MNIST_URL",
    "MNIST_SHA256",
    "STORAGE_EMULATOR_HOST",
)


@dataclass
class Grant:
    """What a step gets beside its own outputs.

    Attributes:
        source: The parameter `source` as the step must be given it; None for steps without.
        folder: Where it starts, so that relative paths lead where they lead on this machine.
        binds: All read-only.
    """

    source: str | None = None
    folder: str = FOLDER
    binds: list[Bind] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    network: bool = False


def find_grant(task: Task) -> Grant:
    """Decide what a step gets, from its inputs.

    Raises:
        StepError: Its source is not on this machine.
    """
    grant = Grant()
    for artifact in task.input_paths():
        if artifact.is_absolute() and artifact.exists():  # metrics without a file are all in KFP's own record
            grant.binds.append(Bind(artifact, str(artifact), read_only=True))
    if task.name == "ingest":
        _grant_source(task, grant, str(task.parameters()["source"]).strip())
    return grant


def memory_bytes(step: str) -> int:
    """What a step may use: more than it was ever seen to need, less than would hurt the machine.

    Raises:
        SettingError: MNIST_MEMORY is set, but not to a size.
    """
    wish = os.environ.get(MEMORY)
    if not wish:
        return MEMORY_BYTES.get(step, MEMORY_BYTES_OTHERS)
    try:
        size = int(parse_bytes(wish))
    except Exception:
        size = 0
    if size < 64 * 2**20:
        raise SettingError(f"{MEMORY}={wish}: expected the memory of a step's container, as in 4g or 512m.")
    return size


def _grant_source(task: Task, grant: Grant, source: str) -> None:
    grant.source = source
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source):
        grant.network = scheme[1].lower() in NETWORK_SCHEMES
        if scheme[1].lower() == "gs":
            _grant_credentials(grant)
    elif source == "mnist":
        folder = os.environ.get("MNIST_DATA_DIR") or "data"
        file = Path(folder, "mnist.npz")
        grant.environment["MNIST_DATA_DIR"] = folder
        if file.exists():
            _grant_path(grant, str(file))
        else:
            grant.network = True
    elif source != "sample":
        _require_path(task, source)
        if source.startswith("~"):  # the container has another home
            grant.source = str(Path(source).expanduser())
        _grant_path(grant, grant.source)
    if grant.network:
        grant.environment.update({name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ})


def _grant_path(grant: Grant, path: str) -> None:
    """Show a path to the step under the name by which it was given, so that reports and errors say that name."""
    grant.folder = FOLDER + "/up" * Path(path).parts.count("..")
    grant.binds.append(Bind(Path(path).resolve(), os.path.normpath(Path(grant.folder, path)), read_only=True))


def _require_path(task: Task, source: str) -> None:
    # Imported late: only a source of one's own needs it. It knows what to say when something is missing.
    from components.mnist.data.sources import locate

    try:
        locate(source, Path())
    except MnistError as error:
        raise StepError(task.name, str(error), "", task.log) from error


def _grant_credentials(grant: Grant) -> None:
    """Let the step sign in to Google Cloud as whoever runs it."""
    configuration = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
    given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    file = Path(given or configuration / "application_default_credentials.json").absolute()
    if file.is_file():
        grant.binds.append(Bind(file, str(file), read_only=True))
        grant.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(file)
