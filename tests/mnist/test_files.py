"""Files and folders are replaced as a whole, or stay as they were."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from components.mnist.files import replacing, write_text


def make(path: Path, text: str, kind: str) -> None:
    """Write a file, or a folder with the file `inner/text`."""
    if kind == "folder":
        (path / "inner").mkdir(parents=True)
        path = path / "inner" / "text"
    path.write_text(text)


def replace(path: Path, text: str, kind: str) -> None:
    with replacing(path) as new:
        make(new, text, kind)


def list_all(folder: Path) -> dict[str, str | None]:
    """Every path below a folder with the text of those that are files."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in found}


FILE = {"out": "new"}
FOLDER = {"out": None, "out/inner": None, "out/inner/text": "new"}
CONTENT = {"file": FILE, "folder": FOLDER}


@pytest.fixture(params=["disk", "bucket"])
def disk(request, monkeypatch):
    """A disk, and a mounted bucket, which cannot rename folders."""
    rename = Path.rename

    def refuse_folders(self: Path, target: Path) -> Path:
        if self.is_dir():
            raise OSError(38, "Function not implemented", str(self))
        return rename(self, target)

    if request.param == "bucket":
        monkeypatch.setattr(Path, "rename", refuse_folders)
    return request.param


@pytest.mark.parametrize("old", [None, "file", "folder"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_a_file_or_folder_replaces_whatever_was_there(tmp_path, disk, old, new):
    if old:
        make(tmp_path / "out", "old", old)
    if old == "folder":
        (tmp_path / "out" / "more").touch()
    replace(tmp_path / "out", "new", new)
    assert list_all(tmp_path) == CONTENT[new]


def test_missing_parent_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "out", "Grüße")
    assert (tmp_path / "a" / "b" / "out").read_bytes() == "Grüße".encode()


@pytest.mark.parametrize("old", [None, "file", "folder"])
@pytest.mark.parametrize("new", [None, "file", "folder"])
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_in_the_block_changes_nothing(tmp_path, old, new, failure):
    if old:
        make(tmp_path / "out", "old", old)
    before = list_all(tmp_path)

    def fail() -> None:
        with replacing(tmp_path / "out") as path:
            if new:
                make(path, "new", new)
            raise failure

    with pytest.raises(failure):
        fail()
    assert list_all(tmp_path) == before


@pytest.mark.parametrize("old", [None, "file", "folder"])
def test_a_block_that_writes_nothing_changes_nothing(tmp_path, disk, old):
    if old:
        make(tmp_path / "out", "old", old)
    before = list_all(tmp_path)
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "out"):
        pass
    assert list_all(tmp_path) == before


@pytest.mark.parametrize("old", [None, "file", "folder"])
def test_whatever_step_of_the_replacement_fails_the_old_content_stays(tmp_path, disk, old, monkeypatch):
    """Every call that changes the disk is interrupted in turn, before and after it has done its work."""
    calls = failing = 0

    def interrupt(module: object, name: str) -> None:
        original = getattr(module, name)

        def wrapped(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise KeyboardInterrupt
            result = original(*args, **options)
            calls += 1
            if calls == failing:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(module, name, wrapped)

    with monkeypatch.context():
        for module, names in ((Path, ["rename"]), (shutil, ["copytree", "copy2"]), (os, ["fsync", "unlink", "rmdir"])):
            for name in names:
                interrupt(module, name)
        was_interrupted = True
        while was_interrupted:
            failing += 1
            folder = tmp_path / str(failing)
            folder.mkdir()
            if old:
                make(folder / "out", "old", old)
            before, calls = list_all(folder), 0
            try:
                replace(folder / "out", "new", "folder")
                was_interrupted = False
            except KeyboardInterrupt:
                # The new content only where it was complete and the clearing up was interrupted.
                visible = {name: text for name, text in list_all(folder).items() if not name.startswith(".")}
                assert visible in (before, FOLDER)
    assert failing > 5
    assert list_all(folder) == FOLDER


def test_a_copy_that_breaks_off_on_a_bucket_loses_nothing(tmp_path, monkeypatch):
    """The rename fails as on a bucket, and the bucket is full after the first file."""
    replace(tmp_path / "out", "old", "folder")
    before = list_all(tmp_path)
    monkeypatch.setattr(Path, "rename", lambda self, target: (_ for _ in ()).throw(OSError(38, "not implemented")))
    copy = shutil.copytree

    def break_off(source: Path, target: Path, *args: object, **options: object) -> None:
        copy(source, target, *args, **options)
        if Path(source).name == "out" and target == tmp_path / "out":
            (target / "inner" / "text").unlink()
            raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copytree", break_off)
    with pytest.raises(OSError, match="No space left on device"):
        replace(tmp_path / "out", "new", "folder")
    assert list_all(tmp_path) == before


def test_a_folder_that_can_be_emptied_but_not_removed_is_filled_anew(tmp_path, monkeypatch):
    """A mount point is such a folder."""
    make(tmp_path / "out", "old", "folder")
    (tmp_path / "out" / "more").touch()
    rename, rmdir = Path.rename, os.rmdir

    def refuse(path: Path) -> None:
        if Path(path).name == "out" and Path(path).parent == tmp_path:
            raise OSError(16, "Device or resource busy", str(path))

    def rename_others(self: Path, target: Path) -> Path:
        refuse(self)
        refuse(target)
        return rename(self, target)

    def remove_others(path: Path, *args: object, **options: object) -> None:
        if str(path) == str(tmp_path / "out"):
            refuse(path)
        rmdir(path, *args, **options)

    monkeypatch.setattr(Path, "rename", rename_others)
    monkeypatch.setattr(os, "rmdir", remove_others)
    replace(tmp_path / "out", "new", "folder")
    assert list_all(tmp_path) == FOLDER


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, disk, kind):
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / "elsewhere" / "out", "old", kind)
    (tmp_path / "link").symlink_to("elsewhere/out")
    replace(tmp_path / "link", "new", kind)
    assert (tmp_path / "link").is_symlink()
    assert list_all(tmp_path / "elsewhere") == CONTENT[kind]


def test_a_link_to_nothing_gets_its_target(tmp_path):
    (tmp_path / "link").symlink_to("later/out")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "later" / "out").read_text() == "new"


def test_links_within_a_folder_are_not_followed(tmp_path, disk):
    """What they point to may be large, or not there."""
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "data").write_text("data")
    for _ in range(2):
        with replacing(tmp_path / "out") as new:
            new.mkdir()
            (new / "link").symlink_to(tmp_path / "large")
            (new / "broken").symlink_to("nothing")
    assert (tmp_path / "out" / "link").is_symlink()
    assert (tmp_path / "large" / "data").read_text() == "data"


def test_a_file_keeps_its_permissions_and_a_new_one_gets_the_usual(tmp_path):
    mask = os.umask(0o022)
    try:
        (tmp_path / "secret").touch(mode=0o600)
        for name in ("secret", "out"):
            write_text(tmp_path / name, "new")
        replace(tmp_path / "folder", "new", "folder")
    finally:
        os.umask(mask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "out": 0o644, "folder": 0o755}


def test_a_read_only_file_of_the_block_is_fine(tmp_path):
    with replacing(tmp_path / "out") as new:
        new.write_text("new")
        new.chmod(0o444)
    assert list_all(tmp_path) == FILE


def test_a_long_name_is_fine(tmp_path):
    name = "é" * 127  # 254 bytes; file systems allow 255
    for kind in ("file", "folder"):
        replace(tmp_path / name, "new", kind)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_device_is_written_to(tmp_path):
    work = "from pathlib import Path; from components.mnist.files import write_text; "
    work += "write_text(Path('/dev/stdout'), 'to the terminal'); write_text(Path('/dev/null'), 'nowhere')"
    child = subprocess.run([sys.executable, "-c", work], check=True, capture_output=True, text=True)
    assert child.stdout == "to the terminal"
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_changes_nothing(tmp_path):
    (tmp_path / "out").write_text("old")
    work = "import resource, sys; from pathlib import Path; from components.mnist.files import write_text; "
    work += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); write_text(Path(sys.argv[1]), 'new' * 1000)"
    child = subprocess.run([sys.executable, "-c", work, str(tmp_path / "out")], capture_output=True, text=True)
    assert "File too large" in child.stderr
    assert list_all(tmp_path) == {"out": "old"}


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="exists"):
        write_text(tmp_path / "file" / "out", "new")
    assert list_all(tmp_path) == {"file": "old"}


def test_a_folder_without_write_permission_is_an_error_and_its_file_stays(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "locked").mkdir(mode=0o755)
    (tmp_path / "locked" / "out").write_text("old")
    (tmp_path / "locked").chmod(0o555)
    work = "import os, sys; from pathlib import Path; from components.mnist.files import write_text\n"
    work += "if os.geteuid() == 0: os.setuid(65534)\n"  # root may write everywhere
    work += "write_text(Path(sys.argv[1]), 'new')"
    child = subprocess.run(
        [sys.executable, "-c", work, str(tmp_path / "locked" / "out")], capture_output=True, text=True
    )
    (tmp_path / "locked").chmod(0o755)
    assert "PermissionError: [Errno 13] Permission denied" in child.stderr
    assert list_all(tmp_path) == {"locked": None, "locked/out": "old"}
