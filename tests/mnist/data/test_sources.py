import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.mnist.data.sources import IDX_FILES, SAMPLE, fetch_mnist, locate
from components.mnist.errors import DataError, UnreachableError
from components.mnist.storage import https
from tests.fakes.web import Answer


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Every test in a folder of its own, from which no MNIST can be seen."""
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    monkeypatch.setattr(https, "BACKOFF_SECONDS", 0.01)


@pytest.fixture
def mnist(digits, web, tmp_path, monkeypatch) -> bytes:
    """What the web server gives as MNIST, with its checksum expected."""
    np.savez_compressed(tmp_path / "served.npz", **digits)
    content = (tmp_path / "served.npz").read_bytes()
    web.answers["/mnist.npz"] = [Answer(content)]
    monkeypatch.setenv("MNIST_URL", f"{web.address}/mnist.npz")
    monkeypatch.setenv("MNIST_SHA256", hashlib.sha256(content).hexdigest())
    return content


def refuse(source: str) -> str:
    """The message with which a source is refused."""
    with pytest.raises(DataError) as caught:
        locate(source, Path("workspace"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mnist_is_downloaded_into_the_data_folder_once(mnist, web):
    assert fetch_mnist() == Path("data/mnist.npz")
    assert fetch_mnist() == Path("data/mnist.npz")
    assert Path("data/mnist.npz").read_bytes() == mnist
    assert web.requests == ["/mnist.npz"]


def test_the_download_shows_how_far_it_is(mnist, capsys, monkeypatch):
    monkeypatch.setenv("MNIST_PROGRESS", "1")
    fetch_mnist()
    assert f'{{"done": {len(mnist)}, "total": {len(mnist)}, "unit": "bytes"' in capsys.readouterr().out


def test_the_command_can_show_the_download_in_its_own_way(mnist):
    shown: list[tuple[int, int | None]] = []
    fetch_mnist(lambda done, total: shown.append((done, total)))
    assert shown[-1] == (len(mnist), len(mnist))


def test_another_folder_can_be_named_for_mnist(mnist, monkeypatch):
    monkeypatch.setenv("MNIST_DATA_DIR", "elsewhere/deep")
    assert fetch_mnist() == Path("elsewhere/deep/mnist.npz")


def test_mnist_with_another_checksum_is_refused_and_not_kept(mnist, monkeypatch):
    monkeypatch.delenv("MNIST_SHA256")
    with pytest.raises(UnreachableError, match=r"expected 731c5ac602752760.*nothing was kept"):
        fetch_mnist()
    assert not Path("data").exists()


def test_mnist_goes_to_a_temporary_file_where_the_folder_cannot_be_written(mnist, tmp_path, monkeypatch):
    (tmp_path / "data").write_text("a file where the folder should be: not even root can write into it")
    path = fetch_mnist()
    assert path.read_bytes() == mnist
    assert not path.is_relative_to(tmp_path)


def test_a_temporary_mnist_goes_when_the_process_ends(mnist, tmp_path, monkeypatch):
    (tmp_path / "data").write_text("a file where the folder should be")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    work = "from components.mnist.data.sources import fetch_mnist; print(fetch_mnist().is_file())"
    child = subprocess.run([sys.executable, "-c", work], check=True, capture_output=True, text=True)
    assert child.stdout.strip() == "True"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_interrupted_download_of_mnist_is_continued(mnist, web, monkeypatch):
    web.answers["/mnist.npz"] = [Answer(mnist, headers={"ETag": '"1"'}, cut_after=9000)]

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_mnist(stop)
    assert Path("data/.mnist.npz.part").read_bytes() == mnist[:9000]
    part = {"ETag": '"1"', "Content-Range": f"bytes 9000-{len(mnist) - 1}/{len(mnist)}"}
    web.answers["/mnist.npz"] = [Answer(mnist[9000:], 206, part)]
    assert fetch_mnist().read_bytes() == mnist
    assert [entry.name for entry in Path("data").iterdir()] == ["mnist.npz"]


def test_mnist_that_cannot_be_reached_says_so(web, monkeypatch):
    monkeypatch.setenv("MNIST_URL", f"{web.address}/gone.npz")
    with pytest.raises(UnreachableError, match=r"gone.npz: not found \(404 Not Found\)"):
        fetch_mnist()


def test_an_mnist_file_of_other_bytes_is_taken_as_it_is(digits):
    Path("data").mkdir()
    np.savez("data/mnist.npz", **digits)
    assert fetch_mnist() == Path("data/mnist.npz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 cut short", "data/mnist.npz: cannot be opened as .npz (File is not a zip file)"),
        (None, "data/mnist.npz: holds X, y; expected MNIST with x_train, y_train, x_test, y_test. Delete it"),
    ],
    ids=["cut-short", "other-data"],
)
def test_a_wrong_mnist_file_is_refused_and_not_silently_replaced(content, words, digits):
    Path("data").mkdir()
    np.savez("data/mnist.npz", X=digits["x_test"], y=digits["y_test"])
    if content:
        Path("data/mnist.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        fetch_mnist()
    assert words in str(caught.value)
    assert not isinstance(caught.value, UnreachableError)


def test_the_sample_is_found_from_anywhere():
    assert locate("sample", Path("workspace")).path == SAMPLE


def test_a_home_folder_can_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("mine").mkdir()
    assert locate("~/mine", Path("workspace")).path == tmp_path / "mine"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "s3://bucket/data",
            "s3://bucket/data: s3:// is not supported; expected mnist, sample, a path, gs:// or https://.",
        ),
        ("ftp://host/x", "Copy the data into a local folder and give its path."),
        ("file:///data", "Give the path alone, without file://."),
        ("https:///data.npz", "names no host; expected https://host/path"),
        ("http://example.com/data.npz", "http:// is not supported because data could be altered in transit"),
        ("gs://", "gs://: names no bucket; expected gs://bucket/file or gs://bucket/folder"),
        ("mnsit", "mnsit: no such file or folder; did you mean mnist?"),
        ("MNIST", "MNIST: no such file or folder; did you mean mnist?"),
        ("pictures/digit/0", "no digit in pictures; did you mean digits?"),
        ("nowhere/data.npz", "no nowhere in the current folder; relative paths start at"),
    ],
)
def test_a_source_that_leads_nowhere_is_refused_with_a_hint(source, words):
    Path("pictures/digits").mkdir(parents=True)
    assert words in refuse(source)


@pytest.mark.parametrize("source", ["locked", "locked/inside.npz"])
def test_what_this_user_may_not_read_is_refused(tmp_path, source):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    Path("locked").mkdir(mode=0)
    reader, writer = os.pipe()
    if os.fork() == 0:  # root may read everything, so a child gives that up
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            os.write(writer, refuse(source).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.wait()
    message = os.read(reader, 1000).decode()
    Path("locked").chmod(0o755)
    assert "locked" in message
    assert "this user may not" in message


def test_one_file_is_fetched_from_an_address_under_its_name(web):
    web.answers["/a/data.npz"] = [Answer(b"content")]
    located = locate(f"{web.address}/a/data.npz", Path("workspace"))
    assert located.path == Path("workspace/data.npz")
    assert located.origin == f"{web.address}/a/data.npz"
    assert web.requests == ["/a/data.npz"]


def test_a_signed_address_is_fetched_whole_and_recorded_without_its_signature(web):
    web.answers["/download?id=7&signature=secret"] = [Answer(b"content")]
    located = locate(f"{web.address}/download?id=7&signature=secret", Path("workspace"))
    assert located.path.read_bytes() == b"content"
    assert located.source == located.origin == f"{web.address}/download?..."


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("spelling", ["-idx.gz", "-idx", ".idx.gz", ".idx"])
def test_the_four_idx_files_of_a_folder_are_found_in_every_spelling(web, spelling, slash):
    joint, _, packing = spelling.partition("x")
    names = [name.format(joint + "x") + packing for name in IDX_FILES]
    web.answers = {f"/folder/{name}": [Answer(name.encode())] for name in names}
    located = locate(f"{web.address}/folder{slash}", Path("workspace"))
    assert sorted(entry.name for entry in located.path.iterdir()) == sorted(names)


def test_an_idx_file_that_is_missing_on_the_server_is_named(web):
    web.answers = {f"/folder/{name.format('-idx')}": [Answer(b"content")] for name in IDX_FILES[:3]}
    assert "/folder/t10k-labels-idx1-ubyte: not found (404 Not Found)" in refuse(f"{web.address}/folder/")


def test_a_folder_without_idx_files_is_refused(web):
    message = refuse(f"{web.address}/folder/")
    assert "none of the four IDX files (train-images-idx3-ubyte, " in message
    assert "expected their folder, or the address of one .npz file" in message


def test_a_site_that_answers_everything_with_a_page_is_refused(web):
    page = Answer(b"<!doctype html>", headers={"Content-Type": "text/html"})
    names = [
        name.format(joint) + packing for name in IDX_FILES[:1] for joint in ("-idx", ".idx") for packing in ("", ".gz")
    ]
    web.answers = {f"/folder{name}": [page] for name in ["", *(f"/{name}" for name in names)]}
    assert "/folder: looks like an HTML page" in refuse(f"{web.address}/folder")
