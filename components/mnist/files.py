"""Replace files and folders as a whole: a reader sees the old content or the new, never a mixture.

Works on disks and on mounted buckets, where folders cannot be renamed: there they are copied.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path for a new file or folder, which replaces `path` when the block ends.

    If the block or the replacement fails, `path` is unchanged and nothing else is left. Missing parent folders
    are made. Where `path` is a symbolic link, its target is replaced; a file keeps its permissions; a device or pipe,
    /dev/stdout for example, is written to directly.

    Raises:
        OSError: The parent folder cannot be written to, or the disk is full.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:50]}."  # a longer one could exceed the 255 bytes that file systems allow
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent, ignore_cleanup_errors=True) as beside:
        new = Path(beside, path.name)
        yield new
        # Flush to the disk, so that no crash leaves an empty file.
        for file in new.rglob("*") if new.is_dir() else [new]:
            if file.is_file() and not file.is_symlink():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        if new.is_dir() or path.is_dir():
            _replace_folder(new, path, Path(beside, "replaced"))
        else:
            if path.exists():
                shutil.copymode(path, new)
            new.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content by this text, in UTF-8.

    Raises:
        OSError: The parent folder cannot be written to, or the disk is full.
    """
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def _replace_folder(new: Path, path: Path, aside: Path) -> None:
    """Replace `path` when it or `new` is a folder, which no file system does in one step.

    `path` or `aside` holds all of the old content at every moment, even if this fails or is interrupted.
    """
    had_old, is_saved = path.exists(), False
    try:
        if had_old:
            _rename_or_copy(path, aside)
            is_saved = True
            shutil.rmtree(path, ignore_errors=True)
        _rename_or_copy(new, path)
    except BaseException:
        # Not saved, but missing: interrupted right after the rename.
        if is_saved or not (had_old and path.exists()):
            shutil.rmtree(path, ignore_errors=True)
            if had_old:
                _rename_or_copy(aside, path)
        raise


def _rename_or_copy(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not source.is_dir():
            raise
        # A mounted bucket cannot rename folders. A mount point cannot be removed either: it is emptied and filled.
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
