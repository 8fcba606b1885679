"""Resolve the parameter `source` to a file or folder on this machine."""

import atexit
import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import components
from components.mnist.data.formats import USABLE, is_usable
from components.mnist.data.npz import list_arrays
from components.mnist.errors import DataError, UnreachableError, suggest
from components.mnist.progress import OnProgress
from components.mnist.storage import gs
from components.mnist.storage.https import MISSING, check_address, download, public

SAMPLE = Path(components.__file__).parent.parent / "data" / "sample.npz"
WORDS = ("mnist", "sample")

# MNIST as Keras downloads it.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MNIST_KEYS = ("x_train", "y_train", "x_test", "y_test")

# The four files of MNIST and of data sets in the same format. Some sites write .idx instead of -idx.
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDX_SPELLINGS = (("-idx", ".gz"), ("-idx", ""), (".idx", ".gz"), (".idx", ""))


@dataclass(frozen=True)
class Located:
    """A source on this machine.

    Attributes:
        path: The file or folder on this machine.
        source: As given by the user, without passwords and signatures.
        origin: The file, folder or address that is read.
    """

    path: Path
    source: str
    origin: str


def locate(source: str, workspace: Path) -> Located:
    """Find a source; download it if it is remote.

    Args:
        source: mnist, sample, a path, or a gs:// or https:// address.
        workspace: A folder for downloads; the caller removes it.

    Raises:
        UnreachableError: It cannot be downloaded.
        DataError: It is missing, or its address is not supported.
    """
    source = source.strip()
    if source == "mnist":
        path = fetch_mnist()
        return Located(path, source, _shorten(path))
    if source == "sample":
        return Located(SAMPLE, source, _shorten(SAMPLE))
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    if not scheme:
        path = Path(source).expanduser()
        if not os.path.exists(path):  # noqa: PTH110  Path.exists raises for forbidden parents
            # ./mnist is a path: suggesting the word mnist would not help.
            hint = suggest(str(path), () if str(path) in WORDS else WORDS, otherwise="") or _describe_nearest(path)
            raise DataError(f"{path}: no such file or folder; {hint}")
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise DataError(f"{path}: this user may not read it. Change its permissions: chmod -R u+rX {path}")
        return Located(path, source, str(path))
    match scheme[1].lower():
        case "gs":
            return Located(gs.fetch(source, workspace, is_usable=is_usable, usable=USABLE), source, source)
        case "https" | "http":
            return Located(_fetch(source, workspace), public(source), public(source))
        case "file":
            advice = "Give the path alone, without file://."
        case _:
            advice = "Copy the data into a local folder and give its path."
    raise DataError(
        f"{public(source)}: {scheme[1]}:// is not supported; expected mnist, sample, a path, gs:// or "
        f"https://. {advice}"
    )


def fetch_mnist(on_progress: OnProgress | None = None) -> Path:
    """Return the path of MNIST, `data/mnist.npz`, after downloading it if it is missing.

    MNIST_DATA_DIR names another folder than `data`; if the folder is not writable, the file is a temporary one for this
    process only. MNIST_URL names another address, MNIST_SHA256 the checksum of the file there.

    Args:
        on_progress: Called during the download; None to report the progress as a step does.

    Raises:
        UnreachableError: It is missing and cannot be downloaded.
        DataError: A file of that name exists, but is not MNIST.
    """
    folder = Path(os.environ.get("MNIST_DATA_DIR") or "data")
    path = folder / "mnist.npz"
    if path.exists():
        found = list_arrays(path)
        if set(found) != set(MNIST_KEYS):
            raise DataError(
                f"{path}: holds {', '.join(found)}; expected MNIST with {', '.join(MNIST_KEYS)}. Delete it and it will "
                f"be downloaded, or give your own data by its path: source={path}"
            )
        return path
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        temporary = tempfile.mkdtemp(prefix="mnist-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        path = Path(temporary, "mnist.npz")
    address = os.environ.get("MNIST_URL") or MNIST_URL
    try:
        download(address, path, sha256=os.environ.get("MNIST_SHA256") or MNIST_SHA256, on_progress=on_progress)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # not empty: a partial download stays, for the next try to resume
                folder.rmdir()
        raise
    return path


def _describe_nearest(path: Path) -> str:
    """Name the last folder of a path that exists, and a similar name in it."""
    folder, missing = path.absolute().parent, path.name
    while not os.path.exists(folder):  # noqa: PTH110  as above
        folder, missing = folder.parent, folder.name
    words = "the current folder" if folder == Path.cwd() else _shorten(folder)
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return f"this user may not list {words}."
    otherwise = "check the path." if path.is_absolute() else f"relative paths start at {Path.cwd()}."
    return f"no {missing} in {words}; {suggest(missing, names, otherwise=otherwise)}"


def _shorten(path: Path) -> str:
    """Return a path relative to the current folder if it is below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)


def _fetch(address: str, workspace: Path) -> Path:
    """Download one file, or the four IDX files of a folder."""
    check_address(address)
    parts = urlsplit(address)
    name = parts.path.rpartition("/")[2]
    if not parts.query and not name.endswith((".npz", ".gz", "-ubyte")) and _fetch_idx(address, workspace / "idx"):
        return workspace / "idx"
    if not name and not parts.query:
        raise UnreachableError(
            f"{public(address)}: holds none of the four IDX files ({', '.join(IDX_FILES)}, with or without "
            ".gz); expected their folder, or the address of one .npz file.",
            status=404,
        )
    target = workspace / (re.sub(r"[^\w.-]", "_", name).lstrip(".") or "download")
    download(address, target, sha256=None)
    return target


def _fetch_idx(address: str, folder: Path) -> bool:
    """Download the four files in the first spelling that exists at the address; return whether one does."""
    folder.mkdir()
    for joint, packing in IDX_SPELLINGS:
        first, *others = [name.replace("-idx", joint) + packing for name in IDX_FILES]
        try:
            download(f"{address.rstrip('/')}/{first}", folder / first, sha256=None)
        except UnreachableError as error:
            # Buckets answer 403 for missing files, and some sites answer 200 with an error page.
            if error.status in (*MISSING, 403, 200):
                continue
            raise
        for name in others:
            download(f"{address.rstrip('/')}/{name}", folder / name, sha256=None)
        return True
    return False
