"""Download bucket objects to files, in parallel, resumed and verified.

The client library resumes broken transfers, but it verifies checksums only within one response, and it gives up a fixed
time after the start, even if bytes keep coming. This module does both itself.
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

from components.mnist.errors import DataError, UnreachableError
from components.mnist.progress import OnProgress
from components.mnist.storage.checksums import find_difference, unpack_sum

if TYPE_CHECKING:
    import google.cloud.storage as storage
    from google.api_core.retry import Retry

THREADS = 10  # small objects mostly wait for the network; the client keeps as many connections
GIVE_UP_SECONDS = 30  # without a byte
BACKOFF_SECONDS = 1.0  # doubled with each try
LONGEST_BACKOFF_SECONDS = 4.0  # Ctrl-C may take this long
REQUEST_SECONDS = 15


def retry_policy() -> "Retry":
    """Return the policy for retrying requests."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    delays = DEFAULT_RETRY.with_delay(initial=BACKOFF_SECONDS, maximum=LONGEST_BACKOFF_SECONDS, multiplier=2)
    return delays.with_timeout(GIVE_UP_SECONDS)


def save_objects(blobs: Mapping[Path, "storage.Blob"], *, on_progress: OnProgress) -> None:
    """Download objects to files; create missing folders.

    Args:
        blobs: Objects with their metadata, by target file.
        on_progress: Called as bytes arrive, by one thread at a time.

    Raises:
        UnreachableError: An object arrived damaged, twice.
        DataError: The disk is too small, or an object is not packed as its metadata says.
        GoogleAPIError: A request failed, for example RetryError if no byte arrived for GIVE_UP_SECONDS.
    """
    meter = _Meter(sum(blob.size or 0 for blob in blobs.values()), on_progress)
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


class _StoppedError(Exception):
    """Another thread has failed, or the user has interrupted the download."""


class _Meter:
    """Counts the bytes received by all threads, and can stop the threads."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self.total = total
        self._done = 0
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._is_stopped = False

    def stop(self) -> None:
        """Stop every thread at its next bytes."""
        self._is_stopped = True

    def add(self, count: int) -> None:
        """Count bytes; a negative number if they must be fetched again."""
        if self._is_stopped:
            raise _StoppedError
        with self._lock:
            self._done += count
            self._on_progress(self._done, self.total)


class _CountingFile:
    """A file for the library to write to, which counts bytes."""

    def __init__(self, file: BinaryIO, meter: _Meter) -> None:
        self._file = file
        self._meter = meter

    def write(self, chunk: bytes) -> int:
        self._meter.add(len(chunk))
        return self._file.write(chunk)


def _save(blob: "storage.Blob", path: Path, meter: _Meter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Read before the transfer: the library overwrites the object's metadata from each response.
    size, encoding = blob.size or 0, blob.content_encoding
    sums = [(name, unpack_sum(text)) for name, text in (("crc32c", blob.crc32c), ("md5", blob.md5_hash)) if text]
    for is_last in (False, True):
        _receive(blob, path, size, meter)
        arrived = path.stat().st_size
        difference = find_difference(path, sums[:1]) if arrived == size else f"{arrived:,} bytes; expected {size:,}"
        if not difference:
            break
        if is_last:
            raise UnreachableError(
                f"gs://{blob.bucket.name}/{blob.name}: arrived damaged twice, with {difference}. Try again."
            )
        meter.add(-arrived)
    # For a .gz file, this encoding means the file itself, which stays packed.
    if encoding == "gzip" and path.suffix != ".gz":
        packed = path.rename(path.with_name(f".{path.name}.packed"))
        try:
            with gzip.open(packed) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path.name}: stored with the encoding gzip, but is not gzipped ({error}).") from error
        finally:
            packed.unlink()


def _receive(blob: "storage.Blob", path: Path, size: int, meter: _Meter) -> None:
    """Write an object to a file, resuming as long as bytes keep coming."""
    from google.api_core.exceptions import RetryError

    with path.open("wb") as file:
        while True:
            start = file.tell()
            try:
                return blob.download_to_file(
                    _CountingFile(file, meter),
                    start=start or None,
                    raw_download=True,  # as stored: size, checksum and ranges refer to that
                    checksum=None,
                    timeout=REQUEST_SECONDS,
                    retry=retry_policy(),
                )
            except RetryError:
                if file.tell() >= size:
                    return None
                if file.tell() == start:
                    raise
                time.sleep(BACKOFF_SECONDS)
