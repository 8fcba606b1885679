"""From the parameter `source` to a file or folder on this machine."""

import atexit
import contextlib
import difflib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import components
from components.mnist.data.npz import list_arrays
from components.mnist.errors import DataError
from components.mnist.storage import gs
from components.mnist.storage.https import NOT_THERE, Show, Unreachable, check_address, download, public

SAMPLE = Path(components.__file__).parent.parent / "data" / "sample.npz"
WORDS = ("mnist", "sample")

# MNIST as Keras downloads it.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MNIST_KEYS = ("x_train", "y_train", "x_test", "y_test")

# The four files of MNIST and of the sets that took over its form; {} is written in one of the ways below.
IDX_FILES = ("train-images{}3-ubyte", "train-labels{}1-ubyte", "t10k-images{}3-ubyte", "t10k-labels{}1-ubyte")
IDX_SPELLINGS = (("-idx", ".gz"), ("-idx", ""), (".idx", ".gz"), (".idx", ""))


@dataclass(frozen=True)
class Located:
    """Where a source is.

    Attributes:
        path: The file or folder on this machine.
        source: As the user gave it, without passwords and signatures.
        origin: The file, folder or address that is read.
    """

    path: Path
    source: str
    origin: str


def locate(source: str, workspace: Path) -> Located:
    """Find a source, and bring it here if it lies elsewhere.

    Args:
        source: mnist, sample, a path, or a gs:// or https:// address.
        workspace: A folder for what is brought here; the caller removes it.

    Raises:
        Unreachable: It cannot be had from where it lies.
        DataError: It is not there, or not one of the places that are read.
    """
    source = source.strip()
    if source == "mnist":
        path = fetch_mnist()
        return Located(path, source, _shorten(path))
    if source == "sample":
        return Located(SAMPLE, source, _shorten(SAMPLE))
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    if not scheme:
        path = _find(Path(source).expanduser())
        return Located(path, source, str(path))
    match scheme[1].lower():
        case "gs":
            return Located(gs.fetch(source, workspace), source, source)
        case "https" | "http":
            return Located(_fetch(source, workspace), public(source), public(source))
        case "file":
            advice = "Give the path alone, without file://."
        case _:
            advice = "Copy the data into a local folder and give its path."
    raise DataError(
        f"{public(source)}: {scheme[1]}:// is not read; expected mnist, sample, a path, gs:// or https://. {advice}"
    )


def fetch_mnist(show: Show | None = None) -> Path:
    """Find MNIST at `data/mnist.npz`, or download it to there.

    MNIST_DATA_DIR names another folder than `data`; where the folder cannot be written to, the file goes to a temporary
    one, for this process only. MNIST_URL names another address, MNIST_SHA256 what is expected from it.

    Args:
        show: Called with the bytes done and in all while it downloads; None to tell whoever listens to a step.

    Raises:
        Unreachable: It is not there and cannot be downloaded.
        DataError: A file is there, but not MNIST.
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
    if not _is_writable(folder):
        path = _new_temporary_folder() / "mnist.npz"
    address = os.environ.get("MNIST_URL") or MNIST_URL
    try:
        download(address, path, sha256=os.environ.get("MNIST_SHA256") or MNIST_SHA256, show=show)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # what has arrived stays, for the next try to go on with
                folder.rmdir()
        raise
    return path


def _new_temporary_folder() -> Path:
    """A folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="mnist-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _find(path: Path) -> Path:
    """Make sure that a path leads somewhere, or say where it stops to."""
    if _exists(path):
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise DataError(
                f"{path}: there, but this user may not read it. Change its permissions: chmod -R u+rX {path}"
            )
        return path
    if str(path) not in WORDS and (words := difflib.get_close_matches(str(path).lower(), WORDS, 1)):
        hint = f"Did you mean source={words[0]}?"
    else:
        hint = _describe_nearest(path)
    raise DataError(f"{path}: no such file or folder. {hint}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on the way may not be entered, or the name is too long
        return False


def _describe_nearest(path: Path) -> str:
    parent = path.absolute().parent
    missing = path.name
    while not _exists(parent):
        parent, missing = parent.parent, parent.name
    place = "the current folder" if parent == Path.cwd() else _shorten(parent)
    try:
        names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        return f"There is {place}, but this user may not look into it."
    if close := difflib.get_close_matches(missing, names, 3):
        return f"In {place} there is {', '.join(close)}: did you mean {_shorten(parent / close[0])}?"
    start = "" if path.is_absolute() else f" A relative path starts at {Path.cwd()}."
    return f"Nothing in {place} is called {missing}.{start}"


def _shorten(path: Path) -> str:
    """A path as people write it: relative where it lies below the current folder."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)


def _fetch(address: str, workspace: Path) -> Path:
    """Bring one file here, or the four IDX files of a folder."""
    check_address(address)
    parts = urlsplit(address)
    name = parts.path.rpartition("/")[2]
    if not parts.query and not name.endswith((".npz", ".gz", "-ubyte")) and _fetch_idx(address, workspace):
        return workspace / "idx"
    if not name and not parts.query:
        raise Unreachable(
            f"{public(address)}: none of the four IDX files is there "
            f"({', '.join(_idx_names(*IDX_SPELLINGS[1]))}, with or without .gz); expected their folder, or the "
            "address of one .npz file.",
            status=404,
        )
    target = workspace / (re.sub(r"[^\w.-]", "_", name).lstrip(".") or "download")
    download(address, target, sha256=None)
    return target


def _fetch_idx(address: str, workspace: Path) -> bool:
    """Whether the four files lie at the address, in any spelling; then they are brought to `idx` in the workspace."""
    folder = workspace / "idx"
    folder.mkdir()
    for spelling in IDX_SPELLINGS:
        first, *others = _idx_names(*spelling)
        try:
            download(f"{address.rstrip('/')}/{first}", folder / first, sha256=None)
        except Unreachable as error:
            # 403 is how buckets answer for what is not there, 200 how some sites do: with a page that says so.
            if error.status in (*NOT_THERE, 403, 200):
                continue
            raise
        for name in others:
            download(f"{address.rstrip('/')}/{name}", folder / name, sha256=None)
        return True
    return False


def _idx_names(joint: str, packing: str) -> list[str]:
    return [name.format(joint) + packing for name in IDX_FILES]
