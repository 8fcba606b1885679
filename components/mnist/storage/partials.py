"""A partial download, kept beside its target until the file is complete.

A note beside it records the address and the version of the file, so that a later download resumes this version and no
other. A partial download without a note is removed when the download ends.
"""

import contextlib
import fcntl
import io
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from components.mnist.storage.versions import Version


class Partial:
    """A partial download and its version.

    Attributes:
        path: The file with the bytes received so far.
        version: None if the download cannot be resumed: the server names no version, or no byte was received.
        is_pieced: Whether the bytes came in several responses.
    """

    def __init__(self, path: Path, file: io.FileIO, address: str, *, note: Path | None) -> None:
        self.path = path
        self._file = file
        # Hashed, because an address may hold a password or a signature.
        self._address = sha256(address.encode()).hexdigest()
        self._note = note
        self.version: Version | None = None
        self.is_pieced = False
        # With a missing or damaged note, or one of another address, there is nothing to resume.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            written = json.loads(note.read_text(encoding="utf-8")) if note else {}
            if written.pop("address") == self._address:
                sums = tuple((str(algorithm), str(value)) for algorithm, value in written.pop("sums"))
                self.version = Version(str(written["validator"]), int(written["total"]), sums)
        if self.version is None or self.size > self.version.total:
            self.clear()

    @property
    def size(self) -> int:
        """Number of bytes received."""
        return os.fstat(self._file.fileno()).st_size

    def clear(self) -> None:
        """Discard all bytes."""
        self._remove_note()
        self._file.truncate(0)
        self.version = None
        self.is_pieced = False

    def begin(self, version: Version | None) -> None:
        """Start again with this version."""
        self.clear()
        self.version = version
        if self._note and version:
            # Before the first byte, so that no byte is ever stored without its version.
            self._note.write_text(json.dumps({"address": self._address, **asdict(version)}), encoding="utf-8")

    def shorten(self, size: int) -> None:
        """Truncate to `size` bytes."""
        self._file.truncate(size)

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]

    def finish(self, target: Path) -> None:
        """Move the complete file to its target."""
        os.fsync(self._file.fileno())
        self.path.chmod(0o644)  # temporary files are readable by their owner only
        self.path.replace(target)
        self._remove_note()
        self._file.close()

    def close(self) -> None:
        """Close the file, and remove it unless a later download can resume it."""
        if self._file.closed:
            return
        if not (self._note and self.version and self.size):
            self._remove_note()
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _remove_note(self) -> None:
        if self._note:
            self._note.unlink(missing_ok=True)


@contextlib.contextmanager
def open_partial(target: Path, address: str) -> Iterator[Partial]:
    """Open the partial download of a target, or an empty one; it becomes the target when the block ends.

    If the block fails, the partial download is kept if a later one can resume it. Only one process at a time uses it:
    others get a temporary file, and so does a process that may not write to it.
    """
    path = target.with_name(f".{target.name}.part")
    if file := _lock(path):
        partial = Partial(path, file, address, note=path.with_name(f"{path.name}.json"))
    else:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        partial = Partial(Path(name), io.FileIO(descriptor, "a"), address, note=None)
    try:
        yield partial
        partial.finish(target)
    finally:
        partial.close()


def _lock(path: Path) -> io.FileIO | None:
    """Open and lock a file; return None if another process has locked it or it cannot be locked."""
    while True:
        try:
            file = io.FileIO(path, "a")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have moved the file to its target since it was opened.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError:  # locked by another process, or locks are not supported here
            file.close()
            return None
        file.close()
