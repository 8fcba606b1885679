import contextlib
import fcntl
from pathlib import Path

import pytest

from components.mnist.storage.partials import open_partial
from components.mnist.storage.versions import Version

VERSION = Version('"1"', 10, (("md5", "ab" * 16),))


def leave(target: Path, content: bytes, version: Version | None = VERSION, address: str = "https://host/file") -> None:
    """Break off after some bytes."""
    with contextlib.suppress(KeyboardInterrupt), open_partial(target, address) as partial:
        partial.begin(version)
        partial.write(content)
        raise KeyboardInterrupt


def test_what_is_complete_gets_its_name_and_may_be_read(tmp_path):
    with open_partial(tmp_path / "file", "https://host/file") as partial:
        partial.begin(VERSION)
        partial.write(b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_was_left_is_continued_with_its_version(tmp_path):
    leave(tmp_path / "file", b"0123")
    with open_partial(tmp_path / "file", "https://host/file") as partial:
        assert (partial.size, partial.version) == (4, VERSION)
        partial.write(b"456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("content", "version"), [(b"", VERSION), (b"0123", None)], ids=["nothing-arrived", "no-version"]
)
def test_what_is_useless_is_removed(tmp_path, content, version):
    leave(tmp_path / "file", content, version)
    assert list(tmp_path.iterdir()) == []


def test_more_than_there_can_be_is_not_continued(tmp_path):
    leave(tmp_path / "file", b"0123")
    (tmp_path / ".file.part").write_bytes(b"0123456789a")
    with open_partial(tmp_path / "file", "https://host/file") as partial:
        assert (partial.size, partial.version) == (0, None)


def test_what_another_process_put_in_its_place_is_not_written_to(tmp_path, monkeypatch):
    """Between opening the partial file and locking it, another process may finish: it is then the target."""
    lock, waiting = fcntl.flock, [True]

    def lock_late(file, operation):
        if waiting and waiting.pop():
            (tmp_path / ".file.part").replace(tmp_path / "file")
            (tmp_path / "file").write_bytes(b"of the other")
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    leave(tmp_path / "file", b"0123")
    assert (tmp_path / "file").read_bytes() == b"of the other"
    assert (tmp_path / ".file.part").read_bytes() == b"0123"


def test_a_partial_file_that_may_not_be_written_to_is_left_alone(tmp_path):
    (tmp_path / ".file.part").mkdir()  # not even root can write into a folder
    with open_partial(tmp_path / "file", "https://host/file") as partial:
        partial.write(b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".file.part", "file"]
