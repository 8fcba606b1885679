"""The arrays of an .npz file, opened without unpickling and without trusting the sizes in their headers."""

import contextlib
import functools
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.mnist.data.arrays import DAMAGE, StoredArray
from components.mnist.errors import DataError, describe

HEADER_BYTES = 2**16  # of an .npy: NumPy writes 128
# Real pictures compress to about a fifth; only a decompression bomb compresses this far.
BOMB_BYTES = 2**30
BOMB_RATIO = 500

READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def list_arrays(path: Path) -> list[str]:
    """List the keys of an .npz, in the order of the file.

    Raises:
        DataError: The file is not a zip archive, is damaged, or holds no array.
    """
    with _reading(path) as archive:
        names = archive.namelist()
    if keys := [name.removesuffix(".npy") for name in names if name.endswith(".npy")]:
        return keys
    raise DataError(
        f"{path}: a zip archive without arrays (it holds {', '.join(names[:5]) or 'nothing'}); expected an .npz as "
        "numpy.savez writes. If it holds pictures, unpack it and give the folder."
    )


def open_array(path: Path, key: str) -> StoredArray:
    """Open an array of an .npz; only its header is read.

    Raises:
        DataError: The array is damaged, encrypted, or not a plain array of numbers.
    """
    name = f"{path}: {key}"
    with _reading(path) as archive:
        member = archive.getinfo(f"{key}.npy")
        if member.flag_bits & 1:
            raise DataError(
                f"{name}: is encrypted; expected an .npz without a password. Save it again with numpy.savez."
            )
        if member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * member.compress_size:
            raise DataError(
                f"{name}: {member.compress_size:,} bytes that unpack to {member.file_size:,}, over {BOMB_RATIO} times "
                "as many; no pictures compress that far. Save it again with numpy.savez if it is real."
            )
        with archive.open(member) as stream:
            head = io.BytesIO(stream.read(HEADER_BYTES))
    shape, fortran, dtype = _read_header(name, head)
    declared = math.prod(shape) * dtype.itemsize
    held = member.file_size - head.tell()
    if declared != held:
        raise DataError(
            f"{name}: declares {dtype} {shape}, {declared:,} bytes, but holds {held:,}. "
            "The file is damaged or forged: get it again."
        )
    start = functools.partial(_open_numbers, path, member.filename, head.tell())
    return StoredArray(name, shape, dtype, start, fortran)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGE as error:
        raise DataError(
            f"{path}: cannot be opened as .npz ({describe(error)}). It is truncated, or not an .npz file: get it again."
        ) from error


def _read_header(name: str, head: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        shape, fortran, dtype = READERS[np.lib.format.read_magic(head)](head)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{name}: has no header that NumPy can read ({describe(error)}). Save it again with numpy.savez."
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"{name}: holds Python objects, which are never unpickled because a pickle can run code; "
            "expected a plain array of numbers. Save it with numpy.savez after .astype(numpy.uint8)."
        )
    if any(length < 0 for length in shape):
        raise DataError(f"{name}: declares the impossible shape {shape}. The file is damaged: get it again.")
    return shape, fortran, dtype


def _open_numbers(path: Path, member: str, offset: int) -> BinaryIO:
    with zipfile.ZipFile(path) as archive:
        stream = archive.open(member)  # keeps the file open after the archive is closed
    stream.read(offset)
    return stream  # type: ignore[return-value]
