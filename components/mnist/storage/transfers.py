"""Objects of buckets become files: many at a time, whole and checked, whatever their size.

The client library goes on with broken transfers where they ended, but compares checksums only of what came in one
answer, and gives up a set time after the start, however much has come since. So both are seen to here.
"""

import gzip
import shutil
import threading
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from components.mnist.errors import DataError
from components.mnist.storage.checksums import find_difference, unpack_sum
from components.mnist.storage.https import Show, Unreachable

if TYPE_CHECKING:
    import google.cloud.storage as storage
    from google.api_core.retry import Retry

THREADS = 10  # small objects are a matter of waiting; the client keeps as many connections
GIVE_UP_SECONDS = 30  # without a byte
BACKOFF_SECONDS = 1.0  # doubled with each try
LONGEST_BACKOFF_SECONDS = 4.0  # for as long may an interruption have to wait
REQUEST_SECONDS = 15


def patience() -> "Retry":
    """How long requests are tried again."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    delays = DEFAULT_RETRY.with_delay(initial=BACKOFF_SECONDS, maximum=LONGEST_BACKOFF_SECONDS, multiplier=2)
    return delays.with_timeout(GIVE_UP_SECONDS)


def save_objects(blobs: Mapping[Path, "storage.Blob"], *, show: Show) -> None:
    """Bring objects to files; folders are made.

    Args:
        blobs: Objects with their metadata, by the file that each becomes.
        show: Called with the bytes done and in all, as they come, by one thread at a time.

    Raises:
        Unreachable: An object arrived damaged, twice.
        DataError: The disk is too small, or an object is not packed as it says.
        GoogleAPIError: The library's, as RetryError when nothing came for GIVE_UP_SECONDS.
    """
    meter = _Meter(sum(blob.size or 0 for blob in blobs.values()), show)
    folder = next(parent for parent in next(iter(blobs)).parents if parent.exists())
    if meter.total > (free := shutil.disk_usage(folder).free):
        raise DataError(f"{meter.total:,} bytes to download but {folder} has {free:,} left. Free some.")
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for future in as_completed([pool.submit(_save, blob, path, meter) for path, blob in blobs.items()]):
                future.result()
        except BaseException:
            meter.stop()
            pool.shutdown(cancel_futures=True)
            raise


class _Stopped(Exception):  # noqa: N818  (nothing went wrong here)
    """Another thread has failed, or the user has had enough."""


class _Meter:
    """Counts the bytes that all threads bring."""

    def __init__(self, total: int, show: Show) -> None:
        self.total = total
        self._done = 0
        self._show = show
        self._lock = threading.Lock()
        self._is_stopped = False

    def stop(self) -> None:
        """End every thread with its next bytes."""
        self._is_stopped = True

    def add(self, count: int) -> None:
        """Count bytes; less than nothing when they have to come again."""
        if self._is_stopped:
            raise _Stopped
        with self._lock:
            self._done += count
            self._show(self._done, self.total)


class _Sink:
    """A file as the library writes to it."""

    def __init__(self, file: BinaryIO, meter: _Meter) -> None:
        self._file = file
        self._meter = meter

    def write(self, chunk: bytes) -> int:
        self._meter.add(len(chunk))
        return self._file.write(chunk)


def _save(blob: "storage.Blob", path: Path, meter: _Meter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The library overwrites what is known of the object by what each answer says.
    size, encoding = blob.size or 0, blob.content_encoding
    sums = [(name, unpack_sum(text)) for name, text in (("crc32c", blob.crc32c), ("md5", blob.md5_hash)) if text]
    for is_last in (False, True):
        _receive(blob, path, size, meter)
        arrived = path.stat().st_size
        difference = find_difference(path, sums[:1]) if arrived == size else f"{arrived:,} bytes; expected {size:,}"
        if not difference:
            break
        if is_last:
            raise Unreachable(
                f"gs://{blob.bucket.name}/{blob.name}: arrived damaged twice, with {difference}. Try again."
            )
        meter.add(-arrived)
    # Whoever stores a .gz file with this encoding means the file itself, which is wanted packed.
    if encoding == "gzip" and path.suffix != ".gz":
        _unpack(path)


def _receive(blob: "storage.Blob", path: Path, size: int, meter: _Meter) -> None:
    """Bring what the library says is the object; for as long as something comes."""
    from google.api_core.exceptions import RetryError

    with path.open("wb") as file:
        while True:
            start = file.tell()
            try:
                return blob.download_to_file(
                    _Sink(file, meter),
                    start=start or None,
                    raw_download=True,  # as it is stored: of that are size, checksum and ranges
                    checksum=None,
                    timeout=REQUEST_SECONDS,
                    retry=patience(),
                )
            except RetryError:
                if file.tell() >= size:
                    return None
                if file.tell() == start:
                    raise
                time.sleep(BACKOFF_SECONDS)


def _unpack(path: Path) -> None:
    packed = path.with_name(f".{path.name}.packed")
    path.rename(packed)
    try:
        with gzip.open(packed) as source, path.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path.name}: stored with the encoding gzip, but it is not packed so ({error}).") from error
    finally:
        packed.unlink()
