"""What has arrived of a file, beside its target until it is whole.

It is the beginning of one version of one file: a note beside it says of which, so that a later download goes on with
it and never with another. Without a note it is worth nothing and goes when the download ends.
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
    """The bytes that have arrived, and of which version they are.

    Attributes:
        path: The file that holds them.
        version: None when they can't be gone on with: the server does not tell, or none have arrived.
        is_pieced: Whether they came in several answers.
    """

    def __init__(self, path: Path, file: io.FileIO, address: str, *, note: Path | None) -> None:
        self.path = path
        self._file = file
        self._address = address
        self._note = note
        self.version = _read_note(note, address) if note else None
        self.is_pieced = False
        if self.version is None or self.size > self.version.total:
            self.clear()

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._file.fileno()).st_size

    def clear(self) -> None:
        """Forget what has arrived."""
        self._forget()
        self._file.truncate(0)
        self.version = None
        self.is_pieced = False

    def begin(self, version: Version | None) -> None:
        """Start anew with the bytes of this version."""
        self.clear()
        self.version = version
        if self._note and version:
            # Before the first byte: there is never a byte of which nobody knows where it belongs.
            self._note.write_text(json.dumps({"address": _name(self._address), **asdict(version)}), encoding="utf-8")

    def shorten(self, size: int) -> None:
        """Keep the first bytes only."""
        self._file.truncate(size)

    def write(self, chunk: bytes) -> None:
        """Add bytes to the end."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]

    def finish(self, target: Path) -> None:
        """Put the file in its place."""
        self.path.chmod(0o644)  # a temporary file is nobody else's to read
        self.path.replace(target)
        self._forget()
        self._file.close()

    def close(self) -> None:
        """Leave only what a later download can go on with."""
        if self._file.closed:
            return
        if not (self._note and self.version and self.size):
            self._forget()
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _forget(self) -> None:
        if self._note:
            self._note.unlink(missing_ok=True)


@contextlib.contextmanager
def open_partial(target: Path, address: str) -> Iterator[Partial]:
    """What an earlier download left of a target, or an empty one; whole and in its place when the block ends well.

    It belongs to one process at a time: another gets a temporary file, and so does who may not write to it.
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
    while True:
        try:
            file = io.FileIO(path, "a")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have put it in its place since it was opened.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError:  # another process has it, or files can't be locked here
            file.close()
            return None
        file.close()


def _read_note(path: Path, address: str) -> Version | None:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if note.pop("address") != _name(address):
            return None
        sums = tuple((str(algorithm), str(value)) for algorithm, value in note.pop("sums"))
        return Version(str(note["validator"]), int(note["total"]), sums)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _name(address: str) -> str:
    """An address as it can be written down: it may carry a password or a signature."""
    return sha256(address.encode()).hexdigest()
