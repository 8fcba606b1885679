"""From the parameter `source` to a file or folder on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

import components
from components.mnist.downloads import Unreachable
from components.mnist.errors import DataError

SAMPLE = Path(components.__file__).parent.parent / "data" / "sample.npz"


@dataclass(frozen=True)
class Located:
    """Where a source is.

    Attributes:
        path: The file or folder on this machine.
        source: As the user gave it.
        origin: The file, folder or address that is read.
    """

    path: Path
    source: str
    origin: str


def locate(source: str, workspace: Path) -> Located:
    """Find a source, and bring it here if it lies elsewhere.

    Args:
        source: mnist, sample, a path, or a gs:// or https:// address.
        workspace: An empty folder for what is brought here; the caller removes it.

    Raises:
        DataError: It is not there or cannot be had.
    """
    if source == "mnist":
        path = fetch_mnist()
        return Located(path, source, str(path))
    if source == "sample":
        return Located(SAMPLE, source, str(SAMPLE))
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{source}: no such file or folder.")
    return Located(path, source, str(path))


def fetch_mnist() -> Path:
    """Find `data/mnist.npz`."""
    path = Path(os.environ.get("MNIST_DATA_DIR", "data")) / "mnist.npz"
    if not path.exists():
        raise Unreachable(f"{path}: no such file.")
    return path
