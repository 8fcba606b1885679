"""Replace files and folders as a whole: a reader sees the old content or the new one, never half of it.

Works on disks and on mounted buckets, which cannot rename folders.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, to write a file or to make a folder there; it takes the place of `path` at the end.

    When the block raises, `path` stays as it was and nothing is left behind. Missing parent folders are made.

    Raises:
        OSError: The place cannot be written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as beside:
        new = Path(beside, path.name)
        yield new
        _flush(new)
        _move(new, path, aside=Path(beside, "replaced"))


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text, UTF-8.

    Raises:
        OSError: The place cannot be written to, or the disk is full.
    """
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    """Bring a file, or all files of a folder, from memory to the disk: a crash afterwards loses nothing."""
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file() and not file.is_symlink():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())


def _move(new: Path, path: Path, *, aside: Path) -> None:
    if not (new.is_dir() or path.is_dir()):
        new.replace(path)
        return
    # `shutil.move` copies where a folder cannot be renamed.
    if path.exists() or path.is_symlink():
        shutil.move(path, aside)
    try:
        shutil.move(new, path)
    except BaseException:
        if aside.exists():
            shutil.rmtree(path, ignore_errors=True)
            shutil.move(aside, path)
        raise
