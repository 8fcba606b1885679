"""The beginning of a file whose download broke off, kept beside its target until the file is complete.

A note beside it records the address and the version of the file, so that a later download continues this version and no
other. Without a note it is useless and is removed when the download ends.
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
    """The bytes of a file that have arrived, and the version they belong to.

    Attributes:
        path: The file that holds them.
        version: None when they cannot be continued: the server names no version, or no byte has arrived.
        is_pieced: Whether they came in several responses.
    """

    def __init__(self, path: Path, file: io.FileIO, address: str, *, note: Path | None) -> None:
        self.path = path
        self._file = file
        # Hashed, because an address may hold a password or a signature.
        self._address = sha256(address.encode()).hexdigest()
        self._note = note
        self.version: Version | None = None
        self.is_pieced = False
        # A missing or damaged note, and one of another address, leave nothing to continue.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            written = json.loads(note.read_text(encoding="utf-8")) if note else {}
            if written.pop("address") == self._address:
                sums = tuple((str(algorithm), str(value)) for algorithm, value in written.pop("sums"))
                self.version = Version(str(written["validator"]), int(written["total"]), sums)
        if self.version is None or self.size > self.version.total:
            self.clear()

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._file.fileno()).st_size

    def clear(self) -> None:
        """Discard what has arrived."""
        self._remove_note()
        self._file.truncate(0)
        self.version = None
        self.is_pieced = False

    def begin(self, version: Version | None) -> None:
        """Start from the beginning with this version."""
        self.clear()
        self.version = version
        if self._note and version:
            # Before the first byte, so that no byte is ever there without the version it belongs to.
            self._note.write_text(json.dumps({"address": self._address, **asdict(version)}), encoding="utf-8")

    def shorten(self, size: int) -> None:
        """Keep the first bytes only."""
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
        """Keep only what a later download can continue."""
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
    """Open what an earlier download left of a target, or an empty file; it becomes the target when the block ends.

    When the block fails, what has arrived is kept where a later download can continue it. One process at a time uses
    it: another one gets a temporary file, and so does a process that may not write to it.
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
    """Open a file that no other process has open; None where that is impossible."""
    while True:
        try:
            file = io.FileIO(path, "a")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have moved it to its target since it was opened.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError:  # another process has locked it, or files cannot be locked here
            file.close()
            return None
        file.close()
