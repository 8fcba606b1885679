"""IDX files, MNIST's original format: a magic number (type and number of axes), the sizes, then the values."""

import functools
import gzip
import math
import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.mnist.data.arrays import DAMAGE, StoredArray
from components.mnist.data.signatures import recognise
from components.mnist.errors import DataError, describe

# As in train-images-idx3-ubyte.gz, emnist-digits-test-labels-idx1-ubyte, t10k-images.idx3-ubyte.
IDX_NAME = re.compile(r"(?:.+[-_.])?(train|t10k|test)[-_](images|labels)[-.]idx[13]-ubyte(\.gz)?", re.IGNORECASE)

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 4
BEST_PACKING = 1032  # deflate's largest compression ratio


def find_four(folder: Path, names: list[str]) -> list[Path]:
    """Pick training images, training labels, test images and test labels; prefer unpacked files.

    Args:
        names: Names of the IDX files in the folder; all match IDX_NAME.

    Raises:
        DataError: A file is missing, or there is more than one set.
    """
    files: dict[tuple[str, str], str] = {}
    for name in sorted(names, key=lambda name: (name.lower().endswith(".gz"), name)):
        part, content, _ = IDX_NAME.fullmatch(name.lower()).groups()  # type: ignore[union-attr]
        role = ("t10k" if part == "test" else part, content)
        if role in files and files[role] != name[:-3]:
            raise DataError(
                f"{folder}: has {files[role]} and {name}; expected one set of four IDX files. "
                "Give each set a folder of its own."
            )
        files.setdefault(role, name)
    roles = [(part, content) for part in ("train", "t10k") for content in ("images", "labels")]
    if missing := ["-".join(role) for role in roles if role not in files]:
        raise DataError(
            f"{folder}: has {', '.join(names)} but no {' and no '.join(missing)}; expected all four IDX files. "
            "Add the missing files."
        )
    return [folder / files[role] for role in roles]


def open_idx(path: Path) -> StoredArray:
    """Read the header of an IDX file, gzipped or not.

    Raises:
        DataError: The file is not an IDX file, is damaged, or declares more values than it holds.
    """
    kind = recognise(path)
    is_packed = kind == "gzip"
    try:
        with _open(path, is_packed, 0) as stream:
            head = stream.read(4 + 4 * MOST_AXES)
    except DAMAGE as error:
        raise DataError(f"{path}: cannot be read ({describe(error)}). The file is damaged: get it again.") from error
    magic = head[:4]  # two zeros, the type of the numbers, the number of axes
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= MOST_AXES:
        is_page = kind.startswith("an HTML page")
        found = f"looks like {kind}" if is_page else f"begins with {magic.hex(' ') or 'nothing'}"
        raise DataError(
            f"{path}: {found}; expected an IDX file, which begins with 00 00 08 03 for images and 00 00 08 01 for "
            "labels. Get it again."
        )
    offset = 4 + 4 * magic[3]
    if len(head) < offset:
        raise DataError(f"{path}: ends within its header. The file is truncated: get it again.")
    shape = struct.unpack_from(f">{magic[3]}I", head, 4)
    dtype = np.dtype(TYPES[magic[2]])
    declared = offset + math.prod(shape) * dtype.itemsize
    held = path.stat().st_size
    if (held * BEST_PACKING < declared) if is_packed else (held != declared):
        size = f"{held:,} bytes packed, too few for that" if is_packed else f"{held:,} bytes"
        raise DataError(
            f"{path}: declares {' x '.join(map(str, shape))} values, {declared:,} bytes in all, but the file has "
            f"{size}. It is truncated or damaged: get it again."
        )
    return StoredArray(str(path), shape, dtype, functools.partial(_open, path, is_packed, offset))


def _open(path: Path, is_packed: bool, offset: int) -> BinaryIO:
    stream = gzip.GzipFile(path) if is_packed else path.open("rb")
    stream.read(offset)
    return stream  # type: ignore[return-value]
