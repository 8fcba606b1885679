"""An array in a file, read in blocks, so that memory does not grow with its size.

Handles errors while reading bytes; knows neither pictures nor labels.
"""

import math
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from components.mnist.errors import DataError, describe

BLOCK_BYTES = 4 * 2**20
KINDS = "biuf"  # of dtypes: bool, signed and unsigned integers, floats

# Exceptions that the standard library raises for a truncated, altered or encrypted file.
DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class StoredArray:
    """An array of numbers in a file.

    Attributes:
        name: The file and the array, for messages: "data/mnist.npz: x_train".
        shape: At least one axis, no axis empty.
        dtype: bool, integers or floats, of any byte order.
        open: Opens the file at the first number; called for each reading.
        fortran: Whether the first axis runs fastest in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    open: Callable[[], BinaryIO]
    fortran: bool = False

    def __post_init__(self) -> None:
        if self.dtype.kind not in KINDS:
            raise DataError(
                f"{self.name}: holds {self.dtype} values; expected numbers (integers, floats or bool). "
                "Save pixels as uint8 and labels as integers from 0."
            )
        if not self.shape or 0 in self.shape:
            raise DataError(
                f"{self.name}: is empty, its shape is {self.shape}; expected at least one image. Write the file again."
            )

    @property
    def count(self) -> int:
        """Length of the first axis."""
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of one entry along the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def blocks(self) -> Iterator[np.ndarray]:
        """Read everything once, a few megabytes at a time.

        Returns:
            Arrays (m, *shape[1:]) in order, each valid until the next one is requested.

        Raises:
            DataError: The file is damaged, truncated or too long.
        """
        try:
            with self.open() as stream:
                if self.fortran:
                    yield from self._read_transposed(stream)
                    return
                for start, stop in self._ranges():
                    data = stream.read((stop - start) * self.row_bytes)
                    if len(data) < (stop - start) * self.row_bytes:
                        read = start + len(data) // self.row_bytes
                        raise DataError(
                            f"{self.name}: ends after {read:,} of the {self.count:,} entries that it declares. "
                            "The file is truncated: get it again."
                        )
                    yield np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])
                if stream.read(1):
                    raise DataError(
                        f"{self.name}: continues after the {self.count:,} entries that it declares. "
                        "The file is damaged: get it again."
                    )
        except DAMAGE as error:
            raise DataError(
                f"{self.name}: cannot be read to its end ({describe(error)}). Get the file again."
            ) from error

    def _ranges(self) -> Iterator[tuple[int, int]]:
        step = max(1, BLOCK_BYTES // self.row_bytes)
        for start in range(0, self.count, step):
            yield start, min(start + step, self.count)

    def _read_transposed(self, stream: BinaryIO) -> Iterator[np.ndarray]:
        """Read an array whose first axis runs fastest, so that each entry is spread over the whole file."""
        with tempfile.TemporaryFile(buffering=0) as copy:
            while data := stream.read(BLOCK_BYTES):
                copy.write(data)
            if copy.tell() < self.count * self.row_bytes:
                raise DataError(f"{self.name}: ends too early. The file is truncated: get it again.")
            # Read piece by piece, not memory-mapped: mapped pages may hold as much memory as the whole file.
            for start, stop in self._ranges():
                # (values of one entry, entries of this block)
                columns = np.empty((self.row_bytes // self.dtype.itemsize, stop - start), self.dtype)
                for number, column in enumerate(columns):
                    copy.seek((number * self.count + start) * self.dtype.itemsize)
                    copy.readinto(column.view(np.uint8))
                yield np.ascontiguousarray(columns.reshape(-1).reshape(stop - start, *self.shape[1:], order="F"))
