"""What lies at gs:// addresses: listed, brought here, and who may do what with it.

How objects become files stands in `transfers.py`; this is about addresses, credentials and what errors mean.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from components.mnist.data.arrays import describe
from components.mnist.data.idx import IDX_NAME
from components.mnist.data.pictures import SUFFIXES
from components.mnist.errors import DataError
from components.mnist.progress import say
from components.mnist.storage import transfers
from components.mnist.storage.causes import find_cause
from components.mnist.storage.https import Show, Unreachable, tell_listener

if TYPE_CHECKING:
    import google.cloud.storage as storage

ADDRESS = re.compile(r"[gG][sS]://([a-z0-9][a-z0-9._-]*[a-z0-9])/*(.*?)/*", re.DOTALL)
SIGN_IN = "Sign in with `gcloud auth application-default login`"
LONGEST_WORDS = 200  # of what the library says
# Google's tokens, and the signed claims for which it gives them: should an answer repeat one, it is not repeated here.
SECRET = re.compile(r"ya29\.[\w.-]+|1//[\w-]{20,}|eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")


def fetch(address: str, workspace: Path) -> Path:
    """Bring an object, or what is usable below a prefix, to the workspace.

    Raises:
        Unreachable: No credentials, no network, no permission, a damaged transfer, nothing there.
        DataError: Nothing usable, or it does not fit on the disk.
    """
    bucket, path = _split(address)
    with _explained(address, bucket):
        found = _find(_connect(), address, bucket, path)
        if isinstance(found, dict):
            wanted = {name: blob for name, blob in found.items() if _is_usable(name)}
            if not wanted:
                raise DataError(
                    f"{address}: {len(found):,} objects, none usable ({', '.join(list(found)[:5])}); expected .npz "
                    "files, the four IDX files, or class folders with PNG or JPEG pictures."
                )
            say(f"downloading {len(wanted):,} objects, {sum(blob.size or 0 for blob in wanted.values()):,} bytes")
            return _save(address, wanted, workspace / "objects", None)
        return _save(address, found, workspace / _safe(address, PurePosixPath(path).name), None)


def copy(address: str, target: Path, *, show: Show | None = None) -> None:
    """Bring one object to a file, or everything below it to a folder under the same names.

    What stands at the target is replaced, and only when everything has arrived.

    Args:
        show: Called with the bytes done and in all, as they come; None to tell whoever listens to a step.

    Raises:
        Unreachable: No credentials, no network, no permission, a damaged transfer, nothing there.
        DataError: It can't be written, or has names that can't be files.
    """
    bucket, path = _split(address)
    with _explained(address, bucket), _beside(target) as folder:
        _save(address, _find(_connect(), address, bucket, path), folder / "new", show)
        if target.exists() or target.is_symlink():
            target.rename(folder / "old")
        (folder / "new").rename(target)


def list_objects(address: str) -> dict[str, int]:
    """The address and size in bytes of every object below gs://bucket/prefix/; none when nothing is there.

    Raises:
        Unreachable: No credentials, no network, no permission, no such bucket.
        DataError: The address names no bucket.
    """
    bucket, path = _split(address)
    with _explained(address, bucket):
        return {f"gs://{bucket}/{blob.name}": blob.size or 0 for blob in _list(_connect(), bucket, path)}


def find_missing_permissions(address: str, wanted: Sequence[str]) -> list[str]:
    """Ask which permissions on a bucket whoever signed in here lacks; changes nothing.

    Args:
        address: gs://bucket, whatever follows.
        wanted: "storage.objects.get", for instance; what the bucket's own policy and those above it may grant.

    Raises:
        Unreachable: No credentials, no network, no such bucket, or it can't be seen.
        DataError: The address names no bucket.
    """
    bucket, _ = _split(address)
    with _explained(address, bucket):
        handle = _connect(may_be_anyone=False).bucket(bucket)
        granted = handle.test_iam_permissions(
            list(wanted), timeout=transfers.REQUEST_SECONDS, retry=transfers.patience()
        )
    return [permission for permission in wanted if permission not in granted]


def _split(address: str) -> tuple[str, str]:
    """Bucket and path."""
    match = ADDRESS.fullmatch(address)
    if not match:
        raise DataError(f"{address}: names no bucket; expected gs://bucket/file or gs://bucket/folder.")
    return match[1], match[2]


def _connect(*, may_be_anyone: bool = True) -> "storage.Client":
    # Imported late: only these addresses need it, and it is slow.
    import google.cloud.storage as storage
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return storage.Client(project="none")  # nothing here needs a project
    except DefaultCredentialsError:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or not may_be_anyone:
            raise
        say("no Google Cloud credentials found: trying as anyone may")
        return storage.Client.create_anonymous_client()


@contextlib.contextmanager
def _explained(address: str, bucket: str) -> Iterator[None]:
    """Turn the library's errors into the project's."""
    import requests
    import urllib3
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, InvalidOperation, TransportError
    from google.cloud.exceptions import GoogleCloudError

    network = (GoogleAPIError, GoogleCloudError, requests.RequestException, urllib3.exceptions.HTTPError)
    try:
        yield
    except NotFound as error:
        raise Unreachable(
            f"{address}: no bucket {bucket}, or the object is gone. Check the address.", status=404
        ) from error
    except (Forbidden, Unauthorized) as error:
        raise Unreachable(
            f"{address}: may not be read with the credentials at hand ({_shorten(describe(error))}). {SIGN_IN}, or ask "
            "its owner for the role Storage Object Viewer.",
            status=403,
        ) from error
    except InvalidOperation as error:  # who has not signed in was asked to
        raise Unreachable(
            f"{address}: not for everyone, and no Google Cloud credentials are at hand. {SIGN_IN}.", status=401
        ) from error
    except DefaultCredentialsError as error:
        words = _shorten(_first_words(error))
        raise Unreachable(f"{address}: no Google Cloud credentials at hand ({words}). {SIGN_IN}.", status=401) from None
    except (*network, TransportError, ConnectionError, TimeoutError) as error:
        raise Unreachable(
            f"{address}: cannot be had ({_shorten(find_cause(error))}), tried for {transfers.GIVE_UP_SECONDS} seconds. "
            "Check the network."
        ) from error
    except GoogleAuthError as error:
        words = _shorten(_first_words(error))
        raise Unreachable(
            f"{address}: Google does not take the credentials at hand, which may have expired ({words}). {SIGN_IN}.",
            status=401,
        ) from None  # a traceback would show all that the sign-in server answered


def _first_words(error: Exception) -> str:
    """The first argument only: others may be what the sign-in server answered, with what it holds."""
    return " ".join(str(error.args[0]).split()).rstrip(".") if error.args else type(error).__name__


def _shorten(words: str) -> str:
    words = SECRET.sub("...", words)
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}..."


def _find(client: "storage.Client", address: str, bucket: str, path: str) -> "storage.Blob | dict[str, storage.Blob]":
    """One object, or those below it by the rest of their names."""
    handle = client.bucket(bucket)
    if path and (blob := handle.get_blob(path, retry=transfers.patience(), timeout=transfers.REQUEST_SECONDS)):
        return blob
    start = len(f"{path}/") if path else 0
    blobs = {blob.name[start:]: blob for blob in _list(client, bucket, path)}
    if not blobs:
        raise Unreachable(
            f"{address}: no such object, and none below it. Check the address for typing errors.", status=404
        )
    return blobs


def _list(client: "storage.Client", bucket: str, path: str) -> Iterator["storage.Blob"]:
    """Every object below a path but those by which folders are marked."""
    listing = client.list_blobs(
        bucket, prefix=f"{path}/" if path else "", retry=transfers.patience(), timeout=transfers.REQUEST_SECONDS
    )
    return (blob for blob in listing if not blob.name.endswith("/"))


def _is_usable(name: str) -> bool:
    file = PurePosixPath(name).name
    return bool(file.lower().endswith((".npz", *SUFFIXES)) or IDX_NAME.fullmatch(file))


def _save(address: str, found: "storage.Blob | dict[str, storage.Blob]", target: Path, show: Show | None) -> Path:
    """Bring one object to a file, or several to a folder."""
    if isinstance(found, dict):
        blobs = {target / _safe(address, name): blob for name, blob in found.items()}
        if both := next((path for path in blobs if not blobs.keys().isdisjoint(path.parents)), None):
            raise DataError(
                f"{address}: {both.relative_to(target)} lies below an object, which cannot be both a file and a folder "
                "here. Rename one."
            )
    else:
        blobs = {target: found}
    total = sum(blob.size or 0 for blob in blobs.values())
    transfers.save_objects(blobs, show=show or tell_listener(address.rstrip("/"), total))
    return target


def _safe(address: str, name: str) -> Path:
    """An object's name as a path that stays in its folder: objects may be called anything."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or "\0" in name or PurePosixPath(name).is_absolute():
        raise DataError(f"{address}: has an object called {name!r}, which cannot be a file here. Rename it.")
    return Path(*parts)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A temporary folder on the same disk."""
    import requests

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            yield Path(name)
    except (ConnectionError, TimeoutError, requests.RequestException):  # of the network, although they are OSErrors too
        raise
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({describe(error)}). Choose another place, or free it."
        ) from error
