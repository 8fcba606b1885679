"""Files from gs:// addresses: one object, or everything usable below a prefix."""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from components.mnist.arrays import describe
from components.mnist.downloads import Unreachable
from components.mnist.errors import DataError
from components.mnist.idx import IDX_NAME
from components.mnist.pictures import SUFFIXES
from components.mnist.progress import Progress, say

if TYPE_CHECKING:
    import google.cloud.storage as storage

THREADS = 16  # small objects are a matter of waiting
GIVE_UP_SECONDS = 30
REQUEST_SECONDS = 15
SIGN_IN = "Sign in with `gcloud auth application-default login`, or ask its owner for the role Storage Object Viewer."


def fetch(address: str, workspace: Path) -> Path:
    """Bring an object, or what is usable below a prefix, to the workspace; the library compares the checksums.

    Raises:
        Unreachable: No credentials, no network, no permission, a damaged transfer.
        DataError: Nothing is there, or nothing usable.
    """
    match = re.fullmatch(r"gs://([^/]+)/*(.*?)/*", address, re.IGNORECASE)
    if not match:
        raise DataError(f"{address}: names no bucket; expected gs://bucket/file or gs://bucket/folder.")
    # Imported late: only this source needs it, and it is slow.
    import requests
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.exceptions import GoogleCloudError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        return _fetch(_connect(), address, match[1], match[2], workspace)
    except NotFound as error:
        raise Unreachable(
            f"{address}: no bucket {match[1]}, or the object is gone. Check the address.", status=404
        ) from error
    except (Forbidden, Unauthorized, GoogleAuthError) as error:
        raise Unreachable(
            f"{address}: may not be read with the credentials at hand ({describe(error)[:200]}). {SIGN_IN}", status=403
        ) from error
    except DataCorruption as error:
        raise Unreachable(f"{address}: arrived with another checksum than the bucket has. Try again.") from error
    except (GoogleAPIError, GoogleCloudError, requests.RequestException, ConnectionError, TimeoutError) as error:
        raise Unreachable(
            f"{address}: cannot be had ({describe(error)[:200]}), tried for {GIVE_UP_SECONDS} seconds. "
            "Check the network."
        ) from error


def _connect() -> "storage.Client":
    import google.cloud.storage as storage
    from google.auth.exceptions import DefaultCredentialsError

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project="none")
    try:
        return storage.Client(project="none")  # reading objects needs no project
    except DefaultCredentialsError:
        say("no Google Cloud credentials found: trying as anyone may")
        return storage.Client.create_anonymous_client()


def _fetch(client: "storage.Client", address: str, bucket: str, path: str, workspace: Path) -> Path:
    from google.cloud.storage.retry import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(GIVE_UP_SECONDS)
    if path and (blob := client.bucket(bucket).get_blob(path, retry=retry, timeout=REQUEST_SECONDS)):
        target = workspace / _safe(address, PurePosixPath(path).name)
        _save(blob, target)
        return target
    prefix = f"{path}/" if path else ""
    listing = client.list_blobs(bucket, prefix=prefix, retry=retry, timeout=REQUEST_SECONDS)
    blobs = [blob for blob in listing if not blob.name.endswith("/")]
    if not blobs:
        raise Unreachable(
            f"{address}: no such object, and none below it. Check the address for typing errors.", status=404
        )
    wanted = [blob for blob in blobs if _is_usable(blob.name)]
    if not wanted:
        found = ", ".join(blob.name.removeprefix(prefix) for blob in blobs[:5])
        raise DataError(
            f"{address}: {len(blobs):,} objects, none usable ({found}); expected .npz files, the four IDX files, or "
            "class folders with PNG or JPEG pictures."
        )
    folder = workspace / "objects"
    _save_all(wanted, [folder / _safe(address, blob.name.removeprefix(prefix)) for blob in wanted])
    return folder


def _is_usable(name: str) -> bool:
    file = PurePosixPath(name).name
    return bool(file.lower().endswith((".npz", *SUFFIXES)) or IDX_NAME.fullmatch(file))


def _safe(address: str, name: str) -> Path:
    """An object's name as a path that stays in its folder: objects may be called anything."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise DataError(f"{address}: has an object called {name!r}, which cannot be a file here. Rename it.")
    return Path(*parts)


def _save(blob: "storage.Blob", target: Path) -> None:
    from google.cloud.storage.retry import DEFAULT_RETRY

    target.parent.mkdir(parents=True, exist_ok=True)
    blob.download_to_filename(
        str(target),
        # An object with the encoding gzip would be unpacked on the way, although it is called .gz.
        raw_download=target.suffix == ".gz",
        timeout=REQUEST_SECONDS,
        retry=DEFAULT_RETRY.with_timeout(GIVE_UP_SECONDS),
    )


def _save_all(blobs: list["storage.Blob"], targets: Iterable[Path]) -> None:
    size = sum(blob.size or 0 for blob in blobs)
    say(f"downloading {len(blobs):,} objects, {size:,} bytes")
    progress = Progress(size, unit="bytes")
    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for blob, _ in zip(blobs, pool.map(_save, blobs, targets), strict=True):
                done += blob.size or 0
                progress.update(done, "downloading")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
