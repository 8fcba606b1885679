import base64
import gzip
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest

from components.mnist.errors import DataError, UnreachableError
from components.mnist.storage import https
from components.mnist.storage.https import download, public
from components.mnist.storage.partials import open_partial
from tests.fakes.files_server import Fault, File, FilesServer
from tests.fakes.web import Answer

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = bytes(reversed(BODY))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(https, "BACKOFF_SECONDS", 0.01)


def refuse(address: str, folder: Path, **sums: str) -> UnreachableError:
    """The refusal of a download; nothing may be left of it."""
    with pytest.raises(UnreachableError) as caught:
        download(address, folder / "file", sha256=sums.get("sha256"))
    assert list(folder.iterdir()) == []
    return caught.value


def test_a_file_arrives_whole(web, tmp_path):
    web.answers["/data.npz"] = [Answer(BODY)]
    download(f"{web.address}/data.npz", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "faults",
    [
        [Answer(status=500), Answer(status=503)],
        [Answer(status=429, headers={"Retry-After": "0"})],
        [Answer(BODY, cut_after=5000), Answer(BODY, cut_after=100)],
    ],
    ids=["server-errors", "too-many-requests", "cut-half-way"],
)
def test_transient_errors_are_tried_again(web, tmp_path, faults):
    web.answers["/data.npz"] = [*faults, Answer(BODY)]
    download(f"{web.address}/data.npz", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(web.requests) == len(faults) + 1


def test_silence_is_tried_again_and_reported_after_four_tries(web, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "SILENCE_SECONDS", 0.2)
    silent = Answer(BODY, wait_seconds=60)
    web.answers = {"/once": [silent, Answer(BODY)], "/always": [silent]}
    assert "cannot be fetched (no answer for too long), tried 4 times" in str(refuse(f"{web.address}/always", tmp_path))
    while web.requests.count("/always") < 4:  # the server may be late to see the last
        time.sleep(0.01)
    monkeypatch.setattr(https, "TRIES", 50)  # a slow machine may need more than two to answer in time
    download(f"{web.address}/once", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert web.requests.count("/always") == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404), "not found (404 Not Found). Check the address"),
        (Answer(status=403), "the server refuses it (403 Forbidden); expected a public address"),
        (Answer(status=401), "the server refuses it (401 Unauthorized); expected a public address"),
        (Answer(status=400), "the server answered 400 Bad Request; expected the file"),
    ],
    ids=["missing", "forbidden", "sign-in", "bad-request"],
)
def test_a_refusal_is_reported_at_once(web, tmp_path, answer, words):
    web.answers["/data.npz"] = [answer]
    error = refuse(f"{web.address}/data.npz", tmp_path)
    assert words in str(error)
    assert error.status == answer.status
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=503), "the server answered 503 Service Unavailable, tried 4 times"),
        (Answer(BODY, cut_after=5000), "cannot be fetched (the connection broke), tried 4 times"),
    ],
    ids=["server-error", "cut"],
)
def test_lasting_errors_are_reported_after_four_tries(web, tmp_path, answer, words):
    web.answers["/data.npz"] = [answer]
    assert words in str(refuse(f"{web.address}/data.npz", tmp_path))
    assert len(web.requests) == 4


def test_a_web_page_is_not_taken_for_data(web, tmp_path):
    web.answers["/data.npz"] = [Answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})]
    assert "looks like an HTML page; expected data" in str(refuse(f"{web.address}/data.npz", tmp_path))


def test_a_wrong_checksum_is_refused(web, tmp_path):
    web.answers["/data.npz"] = [Answer(BODY)]
    error = refuse(f"{web.address}/data.npz", tmp_path, sha256="ab" * 32)
    assert f"the downloaded file has the sha256 {SHA256}; expected abab" in str(error)


def announcing(algorithm: str, content: bytes) -> dict[str, str]:
    crc32c = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return {
        "md5": {"Content-MD5": md5},
        "crc32c": {"x-goog-hash": f"crc32c={crc32c},md5={md5}"},
        "sha256": {"Repr-Digest": f"sha-256=:{sha256}:"},
    }[algorithm]


@pytest.mark.parametrize("algorithm", ["md5", "crc32c", "sha256"])
def test_a_checksum_that_the_server_announces_is_compared(web, tmp_path, algorithm):
    web.answers["/good"] = [Answer(BODY, headers=announcing(algorithm, BODY))]
    web.answers["/bad"] = [Answer(BODY, headers=announcing(algorithm, b"something else"))]
    assert f"the downloaded file has the {algorithm} " in str(refuse(f"{web.address}/bad", tmp_path))
    download(f"{web.address}/good", tmp_path / "file", sha256=None)


def test_a_malformed_checksum_of_the_server_is_no_reason_to_refuse(web, tmp_path):
    web.answers["/file"] = [Answer(BODY, headers={"Content-MD5": "not base64!"})]
    download(f"{web.address}/file", tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_gz_file_stays_packed_although_the_server_calls_that_an_encoding(web, tmp_path):
    packed = gzip.compress(BODY)
    web.answers["/file.gz"] = [Answer(packed, headers={"Content-Encoding": "gzip"})]
    web.answers["/file.npz"] = [Answer(packed, headers={"Content-Encoding": "gzip"})]
    download(f"{web.address}/file.gz", tmp_path / "packed", sha256=None)
    download(f"{web.address}/file.npz", tmp_path / "unpacked", sha256=None)
    assert (tmp_path / "packed").read_bytes() == packed
    assert (tmp_path / "unpacked").read_bytes() == BODY


def test_a_closed_port_is_reported_with_the_reason(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refuse(f"http://127.0.0.1:{port}/data.npz", tmp_path)
    assert "cannot be fetched (Connection refused), tried 4 times. Check the address and the network" in str(error)
    assert error.status is None


def test_an_unknown_host_is_reported(tmp_path):
    assert "(the host's name is not known)" in str(refuse("https://no-such-host.invalid/data.npz", tmp_path))


def test_a_certificate_that_nobody_signed_is_refused(files, tmp_path):
    files.secure(tmp_path)
    (tmp_path / "target").mkdir()
    assert "certificate verify failed" in str(refuse(f"{files.address}/file", tmp_path / "target"))


def test_a_file_arrives_over_tls(files, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files.secure(tmp_path)))
    (tmp_path / "target").mkdir()
    files.faults = [Fault(cut_after=4000)]
    assert files.address.startswith("https://")
    assert fetch_file(files, tmp_path / "target") == BODY


def test_http_is_read_from_this_machine_only(tmp_path):
    with pytest.raises(
        DataError, match=r"http:// is not supported because data could be altered in transit; expected https"
    ):
        download("http://example.com/data.npz", tmp_path / "file", sha256=None)


def test_a_redirection_may_not_leave_https(web, tmp_path):
    web.answers["/data.npz"] = [Answer(status=302, headers={"Location": "http://example.com/data.npz"})]
    with pytest.raises(DataError, match=r"http://example.com/data.npz: http:// is not supported"):
        download(f"{web.address}/data.npz", tmp_path / "file", sha256=None)
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_shown_without_what_is_secret():
    assert public("https://me:secret@host:8080/a/b.npz?signature=secret#x") == "https://host:8080/a/b.npz?..."


def test_what_was_there_stays_when_a_download_fails(web, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(UnreachableError):
        download(f"{web.address}/missing", tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_begun(web, tmp_path):
    web.answers["/data.npz"] = [Answer(BODY, headers={"Content-Length": str(10**17)})]
    with pytest.raises(DataError, match=r"data.npz: 100,000,000,000,000,000 bytes but .* left. Free some."):
        download(f"{web.address}/data.npz", tmp_path / "file", sha256=None)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def files() -> Iterator[FilesServer]:
    """A server that has BODY at /file and gives parts of it."""
    with FilesServer() as server:
        server.files["/file"] = File(BODY)
        yield server


def fetch_file(files: FilesServer, folder: Path, *, sha256: str | None = None) -> bytes:
    """Download /file; nothing else may be left in the folder."""
    download(f"{files.address}/file", folder / "file", sha256=sha256)
    assert [entry.name for entry in folder.iterdir()] == ["file"]
    return (folder / "file").read_bytes()


def interrupt(files: FilesServer, folder: Path, *, query: str = "") -> list[str]:
    """Break a download of /file off after 6,000 bytes, as Ctrl-C does; returns what is left."""

    def show(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    files.faults = [Fault(cut_after=6000)]
    with pytest.raises(KeyboardInterrupt):
        download(f"{files.address}/file{query}", folder / "file", sha256=None, on_progress=show)
    files.sent_bytes = 0
    return sorted(entry.name for entry in folder.iterdir())


def test_what_was_cut_is_continued_where_it_ended(files, tmp_path):
    files.faults = [Fault(cut_after=4000)]
    assert fetch_file(files, tmp_path, sha256=SHA256) == BODY
    assert files.sent_bytes == len(BODY)
    assert files.statuses == [200, 206]


def test_a_connection_may_break_any_number_of_times_as_long_as_something_comes(files, tmp_path):
    files.faults = [Fault(cut_after=1000)] * 9
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY)


def test_a_server_may_give_less_than_was_asked_for(files, tmp_path):
    files.faults = [Fault(cut_after=1000), Fault(range_bytes=3000), Fault(range_bytes=1)]
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY)


def test_silence_half_way_loses_one_chunk_at_most(files, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(https, "SILENCE_SECONDS", 3)
    files.faults = [Fault(cut_after=4500, silence_seconds=60)]

    def be_patient(done: int, total: int | None) -> None:
        monkeypatch.setattr(https, "SILENCE_SECONDS", 300)  # from the second request on: this machine may be slow

    download(f"{files.address}/file", tmp_path / "file", sha256=SHA256, on_progress=be_patient)
    assert (tmp_path / "file").read_bytes() == BODY
    assert files.statuses == [200, 206]
    assert files.sent_bytes <= len(BODY) + 1000


def test_transient_errors_after_a_break_lose_nothing(files, tmp_path):
    files.faults = [Fault(cut_after=1000), Fault(status=503), Fault(cut_after=0), Fault(status=429)]
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (File(BODY), File(OTHER)),
        (File(BODY), File(OTHER, labels_parts=False)),
        (File(BODY), File(OTHER[:5000])),
        (File(BODY, etag="", changed=1e9), File(OTHER, etag="", changed=1.1e9)),
        (File(BODY, minds_if_range=False), File(OTHER, minds_if_range=False)),
        (File(BODY, minds_if_range=False), File(OTHER[:3000], minds_if_range=False)),
        (File(BODY), File(OTHER, has_ranges=False)),
        (File(BODY, has_ranges=False), File(BODY, has_ranges=False)),
        (File(BODY, etag='W/"1"'), File(OTHER, etag='W/"1"')),
        (File(BODY, etag=""), File(OTHER, etag="")),
        # By a clock that is ahead: whenever this runs, no time has passed since.
        (File(BODY, etag="", changed=time.time() + 86400), File(OTHER, etag="", changed=time.time() + 86400)),
    ],
    ids=[
        "another-file",
        "another-file-without-labels",
        "a-shorter-file",
        "another-time",
        "another-file-whatever-was-asked",
        "416",
        "no-parts-any-more",
        "no-parts",
        "weak-etag",
        "no-validator",
        "changed-just-now",
    ],
)
def test_what_is_not_known_to_be_the_same_file_is_begun_anew(files, tmp_path, before, after):
    files.files["/file"] = before
    files.faults = [Fault(cut_after=4000, then=after)]
    assert fetch_file(files, tmp_path) == after.body
    assert files.statuses[-1] == 200


def test_the_time_of_change_is_enough_to_go_on(files, tmp_path):
    files.files["/file"] = File(BODY, etag="", changed=1e9)
    files.faults = [Fault(cut_after=4000)]
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY)


@pytest.mark.parametrize("shift", [-1, 1, 2000])
def test_another_part_than_the_one_asked_for_is_not_taken(files, tmp_path, shift):
    files.faults = [Fault(cut_after=4000), Fault(range_shift=shift)]
    assert fetch_file(files, tmp_path) == BODY
    assert files.statuses == [200, 206, 200]


@pytest.mark.parametrize("known", ["caller", "server"])
def test_the_checksum_is_that_of_the_whole_file_and_a_wrong_piece_makes_it_begin_anew(files, tmp_path, known):
    headers = announcing("sha256", OTHER) if known == "server" else {}
    same = {"etag": '"not-changed-it-says"', "headers": headers}
    files.files["/file"] = File(BODY, **same)
    files.faults = [Fault(cut_after=4000, then=File(OTHER, **same))]
    sha256 = hashlib.sha256(OTHER).hexdigest() if known == "caller" else None
    assert fetch_file(files, tmp_path, sha256=sha256) == OTHER
    assert files.statuses == [200, 206, 200]


def test_a_wrong_file_in_pieces_is_refused_once_it_came_in_one(files, tmp_path):
    files.faults = [Fault(cut_after=4000)]
    assert f"has the sha256 {SHA256}; expected abab" in str(refuse(f"{files.address}/file", tmp_path, sha256="ab" * 32))
    assert files.statuses == [200, 206, 200]


def test_a_checksum_that_only_the_first_answer_announced_is_compared_in_the_end(files, tmp_path):
    files.files["/file"] = File(BODY, headers=announcing("md5", OTHER))
    files.faults = [Fault(cut_after=4000, then=File(BODY))]
    assert fetch_file(files, tmp_path) == BODY
    assert files.statuses == [200, 206, 200]


def test_an_interrupted_download_is_continued_by_the_next(files, tmp_path):
    assert interrupt(files, tmp_path) == [".file.part", ".file.part.json"]
    shown: list[tuple[int, int | None]] = []
    download(
        f"{files.address}/file",
        tmp_path / "file",
        sha256=SHA256,
        on_progress=lambda done, total: shown.append((done, total)),
    )
    assert shown[-1] == (len(BODY), len(BODY))
    assert shown[0][0] > 6000
    assert files.sent_bytes == len(BODY) - 6000
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_killed_download_is_continued_by_the_next(files, tmp_path):
    files.faults = [Fault(cut_after=6000), *[Fault(status=503)] * 1000]
    work = (
        "import sys; from pathlib import Path; from components.mnist.storage.https import download; "
        "download(sys.argv[1], Path(sys.argv[2]), sha256=None)"
    )
    child = subprocess.Popen([sys.executable, "-c", work, f"{files.address}/file", str(tmp_path / "file")])
    while len(files.statuses) < 2:
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    files.faults, files.sent_bytes = [], 0
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY) - 6000


def test_what_lasting_errors_left_is_continued(files, tmp_path):
    files.faults = [Fault(cut_after=6000), *[Fault(cut_after=0)] * 4]
    with pytest.raises(UnreachableError, match=r"cannot be fetched \(the connection broke\), tried 4 times"):
        download(f"{files.address}/file", tmp_path / "file", sha256=None)
    files.sent_bytes = 0
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY) - 6000


def test_a_target_that_cannot_be_written_is_reported(files, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/target: cannot be written \(Not a directory\)\. Choose another path"):
        download(f"{files.address}/file", tmp_path / "file" / "target", sha256=None)


def test_a_disk_that_fills_up_half_way_is_reported_and_what_has_arrived_is_of_use(files, tmp_path):
    files.files["/file"] = File(BODY * 20)
    work = (
        "import resource, sys; from pathlib import Path; from components.mnist.storage.https import download; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "download(sys.argv[1], Path(sys.argv[2]), sha256=None)"
    )
    child = subprocess.run(
        [sys.executable, "-c", work, f"{files.address}/file", str(tmp_path / "file")], capture_output=True, text=True
    )
    assert child.stderr.rstrip().endswith(
        "cannot be written (File too large). Choose another path, or free some space."
    )
    files.sent_bytes = 0
    assert fetch_file(files, tmp_path) == BODY * 20
    assert files.sent_bytes == len(BODY) * 20 - 100_000


def test_what_another_address_left_is_not_continued(files, tmp_path):
    files.files["/other"] = File(OTHER, etag='"same"')
    files.files["/file"] = File(BODY, etag='"same"')
    interrupt(files, tmp_path)
    download(f"{files.address}/other", tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == OTHER
    assert files.sent_bytes == len(OTHER)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_was_left_of_a_file_that_changed_is_not_continued(files, tmp_path):
    interrupt(files, tmp_path)
    files.files["/file"] = File(OTHER)
    assert fetch_file(files, tmp_path) == OTHER


def test_nothing_stays_of_what_could_not_be_continued(files, tmp_path):
    files.files["/file"] = File(BODY, etag="")
    assert interrupt(files, tmp_path) == []


def test_what_was_left_goes_when_the_file_is_gone(files, tmp_path):
    interrupt(files, tmp_path)
    del files.files["/file"]
    assert refuse(f"{files.address}/file", tmp_path).status == 404


def test_a_file_that_was_all_there_is_asked_for_its_last_byte_only(files, tmp_path):
    interrupt(files, tmp_path)
    (tmp_path / ".file.part").write_bytes(BODY)
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == 1


@pytest.mark.parametrize("note", [None, b"", b'{"address": "', b"[]", b'{"address": 1}'])
def test_what_is_left_without_a_note_of_what_it_is_counts_for_nothing(files, tmp_path, note):
    interrupt(files, tmp_path)
    (tmp_path / ".file.part.json").unlink()
    if note is not None:
        (tmp_path / ".file.part.json").write_bytes(note)
    assert fetch_file(files, tmp_path) == BODY
    assert files.sent_bytes == len(BODY)


def test_the_note_holds_no_secret_of_the_address(files, tmp_path):
    interrupt(files, tmp_path, query="?signature=secret")
    assert "secret" not in (tmp_path / ".file.part.json").read_text()


def test_two_downloads_to_one_target_do_not_disturb_each_other(files, tmp_path):
    with open_partial(tmp_path / "file", "another") as partial:
        partial.write(b"from the other")
        download(f"{files.address}/file", tmp_path / "file", sha256=SHA256)
        assert (tmp_path / "file").read_bytes() == BODY
    assert (tmp_path / "file").read_bytes() == b"from the other"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_packed_answer_that_breaks_is_unpacked_from_its_beginning(files, tmp_path):
    files.files["/file"] = File(gzip.compress(os.urandom(5000) + BODY), headers={"Content-Encoding": "gzip"})
    files.faults = [Fault(cut_after=4000)]
    assert fetch_file(files, tmp_path)[5000:] == BODY
    assert files.statuses == [200, 200]
