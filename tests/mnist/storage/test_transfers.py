import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core.exceptions import RetryError
from google.cloud import storage

from components.mnist.errors import DataError, UnreachableError
from components.mnist.storage import transfers
from components.mnist.storage.transfers import save_objects
from tests.fakes.storage_server import StorageServer, Trouble

BODY = os.urandom(300_000)


@pytest.fixture
def server(storage_server, monkeypatch) -> StorageServer:
    monkeypatch.setattr(transfers, "BACKOFF_SECONDS", 0.01)
    return storage_server


@pytest.fixture
def bucket(server) -> Iterator[storage.Bucket]:
    """A bucket with BODY as `large`."""
    made = storage.Client(project="test").create_bucket("digits")
    made.blob("large").upload_from_string(BODY)
    yield made
    server.troubles = []
    made.delete(force=True)


def ignore(done: int, total: int | None) -> None:
    """Report nothing."""


def fetch_file(bucket: storage.Bucket, folder: Path, name: str = "large") -> bytes:
    save_objects({folder / name: bucket.get_blob(name)}, on_progress=ignore)
    return (folder / name).read_bytes()


def test_what_was_cut_is_continued_where_it_ended(bucket, server, tmp_path):
    server.troubles = [Trouble(cut_after=100_000), Trouble(cut_after=50_000), Trouble(status=503)]
    assert fetch_file(bucket, tmp_path) == BODY
    assert server.media_statuses() == [200, 206, 503, 206]
    # What the library had not yet handed on of the chunk that broke comes again.
    assert len(BODY) <= server.sent_bytes < len(BODY) + 2 * 8192


def test_a_long_transfer_that_breaks_late_is_continued_too(bucket, server, tmp_path, monkeypatch):
    """The library alone would give up here: more time than it allows has passed since the start."""
    monkeypatch.setattr(transfers, "GIVE_UP_SECONDS", 0.05)
    server.troubles = [Trouble(cut_after=50_000, silence_seconds=0.1)] * 4
    assert fetch_file(bucket, tmp_path) == BODY
    assert server.media_statuses() == [200, 206, 206, 206, 206]


def test_silence_is_given_up_on_when_nothing_comes(bucket, server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "GIVE_UP_SECONDS", 0.1)
    server.troubles = [Trouble(cut_after=100_000), *[Trouble(status=503)] * 1000]
    with pytest.raises(RetryError):
        fetch_file(bucket, tmp_path)


def test_a_damaged_piece_is_found_although_the_library_does_not_look(bucket, server, tmp_path):
    server.troubles = [Trouble(cut_after=100_000, damaged_at=7)]
    assert fetch_file(bucket, tmp_path) == BODY
    assert server.media_statuses() == [200, 206, 200]


def test_an_object_that_is_damaged_twice_is_refused(bucket, server, tmp_path):
    server.troubles = [Trouble(damaged_at=7), Trouble(damaged_at=299_999)]
    words = r"gs://digits/large: arrived damaged twice, with the crc32c [0-9a-f]{8}; expected [0-9a-f]{8}. Try again."
    with pytest.raises(UnreachableError, match=words):
        fetch_file(bucket, tmp_path)


def test_a_server_that_sends_everything_again_is_not_believed(bucket, server, tmp_path):
    server.troubles = [Trouble(cut_after=100_000), Trouble(ignores_range=True)]
    assert fetch_file(bucket, tmp_path) == BODY
    assert server.media_statuses() == [200, 200, 200]


def test_an_object_that_is_replaced_meanwhile_is_not_mixed_with_the_new_one(bucket, server, tmp_path):
    blob = bucket.get_blob("large")
    bucket.blob("large").upload_from_string(bytes(reversed(BODY)))
    with pytest.raises(Exception, match="No such object"):
        save_objects({tmp_path / "large": blob}, on_progress=ignore)


def test_what_comes_is_shown_as_it_comes_and_never_twice(bucket, server, tmp_path):
    shown: list[tuple[int, int | None]] = []
    server.troubles = [Trouble(damaged_at=7)]
    save_objects(
        {tmp_path / "large": bucket.get_blob("large")}, on_progress=lambda done, total: shown.append((done, total))
    )
    assert len(shown) > 60
    assert shown[-1] == (len(BODY), len(BODY))
    assert all(done <= len(BODY) and total == len(BODY) for done, total in shown)


def test_many_objects_come_at_the_same_time_but_not_all_at_once(bucket, server, tmp_path):
    blobs = {}
    for number in range(40):
        bucket.blob(f"small/{number}").upload_from_string(str(number))
        blobs[tmp_path / str(number)] = bucket.get_blob(f"small/{number}")
    server.barrier = threading.Barrier(transfers.THREADS)
    server.most_at_once = 0
    save_objects(blobs, on_progress=ignore)
    assert [path.read_text() for path in blobs] == [path.name for path in blobs]
    assert server.most_at_once == transfers.THREADS


def test_one_failure_ends_the_other_transfers(bucket, server, tmp_path):
    for number in range(20):
        bucket.blob(f"part/{number}").upload_from_string(BODY)
    blobs = {tmp_path / blob.name: blob for blob in bucket.list_blobs(prefix="part/")}
    server.troubles = [Trouble("part/0$", status=403)]
    before = set(threading.enumerate())  # other tests of this process may have left some
    with pytest.raises(Exception, match="trouble on demand"):
        save_objects(blobs, on_progress=ignore)
    assert server.sent_bytes < 20 * len(BODY)
    started = set(threading.enumerate()) - before
    assert [thread for thread in started if thread.name.startswith("ThreadPoolExecutor")] == []


def test_an_interruption_does_not_wait_for_what_is_under_way(bucket, server, tmp_path, monkeypatch):
    """Left alone, the slow one would go on for ever."""
    monkeypatch.setattr(transfers, "GIVE_UP_SECONDS", 1e6)
    bucket.blob("slow").upload_from_string(BODY)
    server.troubles = [Trouble("/download/.*/slow", cut_after=1)] * 100_000

    def show(done: int, total: int | None) -> None:
        if done > 8192:  # of both: the other one has its first chunk
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_objects({tmp_path / name: bucket.get_blob(name) for name in ("slow", "large")}, on_progress=show)
    assert server.troubles


def test_an_object_stored_packed_is_unpacked_also_when_it_came_in_pieces(bucket, server, tmp_path):
    blob = bucket.blob("packed.txt")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(BODY, mtime=0))
    server.troubles = [Trouble(cut_after=100_000)]
    assert fetch_file(bucket, tmp_path, "packed.txt") == BODY
    assert server.media_statuses() == [200, 206]
    assert [entry.name for entry in tmp_path.iterdir()] == ["packed.txt"]


def test_a_gz_file_stays_packed_although_it_is_stored_with_that_encoding(bucket, tmp_path):
    packed = gzip.compress(BODY, mtime=0)
    blob = bucket.blob("data.gz")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed)
    assert fetch_file(bucket, tmp_path, "data.gz") == packed


def test_an_object_that_is_not_packed_as_it_says_is_refused(bucket, tmp_path):
    blob = bucket.blob("data.txt")
    blob.content_encoding = "gzip"
    blob.upload_from_string(b"plain")
    with pytest.raises(DataError, match=r"data.txt: stored with the encoding gzip, but is not gzipped"):
        fetch_file(bucket, tmp_path, "data.txt")


def test_an_empty_object_is_an_empty_file(bucket, tmp_path):
    bucket.blob("empty").upload_from_string(b"")
    assert fetch_file(bucket, tmp_path, "empty") == b""


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_begun(bucket, server, tmp_path):
    blob = bucket.get_blob("large")
    blob._properties["size"] = str(10**17)
    with pytest.raises(DataError, match=r"100,000,000,000,000,000 bytes to download but .* left. Free some."):
        save_objects({tmp_path / "large": blob}, on_progress=ignore)
    assert server.media_statuses() == []
