"""List and download objects at gs:// addresses, and check the permissions of the signed-in account.

`transfers.py` does the transfers; this module deals with addresses, credentials and errors.
"""

import contextlib
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from components.mnist.errors import DataError, UnreachableError, describe, mask_tokens
from components.mnist.files import replacing
from components.mnist.progress import OnProgress, report_download, say
from components.mnist.storage import transfers
from components.mnist.storage.causes import find_cause

if TYPE_CHECKING:
    import google.cloud.storage as storage

ADDRESS = re.compile(r"[gG][sS]://([a-z0-9][a-z0-9._-]*[a-z0-9])/*(.*?)/*", re.DOTALL)
SIGN_IN = "Sign in with `gcloud auth application-default login`"
LONGEST_QUOTE = 200  # characters


def fetch(address: str, workspace: Path, *, is_usable: Callable[[str], bool], usable: str) -> Path:
    """Download an object to the workspace, or every usable object below a prefix.

    Args:
        is_usable: Whether an object below a prefix is downloaded, by its name without folders.
        usable: Description of usable objects, for messages: ".npz files".

    Returns:
        The file, or the folder `objects` with the files under their names below the prefix.

    Raises:
        UnreachableError: No credentials, no network, no permission, a damaged transfer, no such object.
        DataError: No object is usable, or they do not fit on the disk.
    """
    with _open(address) as (bucket, path):
        found = _find(bucket, path, address)
        if "" in found:
            return _save(address, found, workspace / _to_path(address, PurePosixPath(path).name), None)
        chosen = {name: blob for name, blob in found.items() if is_usable(PurePosixPath(name).name)}
        if not chosen:
            raise DataError(
                f"{address}: {len(found):,} objects, none usable ({', '.join(list(found)[:5])}); expected {usable}."
            )
        say(f"downloading {len(chosen):,} objects, {sum(blob.size or 0 for blob in chosen.values()):,} bytes")
        return _save(address, chosen, workspace / "objects", None)


def copy(address: str, target: Path, *, on_progress: OnProgress | None = None) -> None:
    """Download one object to a file, or all objects below an address to a folder, under the same names.

    The target is replaced only when all objects have been downloaded.

    Args:
        on_progress: Called as bytes arrive; None to report the progress as a step does.

    Raises:
        UnreachableError: No credentials, no network, no permission, a damaged transfer, no such object.
        DataError: The target cannot be written, or objects have names that files cannot have.
    """
    try:
        with _open(address) as (bucket, path), replacing(target) as new:
            _save(address, _find(bucket, path, address), new, on_progress)
    except OSError as error:  # a file's: network errors have become UnreachableError
        raise DataError(
            f"{target}: cannot be written ({describe(error)}). Choose another path, or free some space."
        ) from error


def list_objects(address: str) -> dict[str, int]:
    """Return the address and size in bytes of every object below gs://bucket/prefix/; may be empty.

    Raises:
        UnreachableError: No credentials, no network, no permission, no such bucket.
        DataError: The address names no bucket.
    """
    with _open(address) as (bucket, path):
        return {f"gs://{bucket.name}/{blob.name}": blob.size or 0 for blob in _list(bucket, path)}


def find_missing_permissions(address: str, required: Sequence[str]) -> list[str]:
    """Return the required permissions on a bucket that the signed-in account lacks; change nothing.

    Args:
        address: gs://bucket; the rest is ignored.
        required: "storage.objects.get", for instance; granted by the bucket's policy or an inherited one.

    Raises:
        UnreachableError: No credentials, no network, no such bucket, or it may not be seen.
        DataError: The address names no bucket.
    """
    with _open(address, allow_anonymous=False) as (bucket, _):
        granted = bucket.test_iam_permissions(
            list(required), timeout=transfers.REQUEST_SECONDS, retry=transfers.retry_policy()
        )
    return [permission for permission in required if permission not in granted]


def _connect(*, allow_anonymous: bool) -> "storage.Client":
    # Imported late: slow, and needed for gs:// addresses only.
    import google.cloud.storage as storage
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return storage.Client(project="none")  # nothing here needs a project
    except DefaultCredentialsError:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or not allow_anonymous:
            raise
        say("no Google Cloud credentials found: trying without, which works for public buckets")
        return storage.Client.create_anonymous_client()


@contextlib.contextmanager
def _open(address: str, *, allow_anonymous: bool = True) -> Iterator[tuple["storage.Bucket", str]]:
    """Yield the bucket and the path of an address, and translate the library's errors into the project's."""
    import requests
    import urllib3
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, InvalidOperation, TransportError

    match = ADDRESS.fullmatch(address)
    if not match:
        raise DataError(f"{address}: names no bucket; expected gs://bucket/file or gs://bucket/folder.")
    network = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError)
    try:
        yield _connect(allow_anonymous=allow_anonymous).bucket(match[1]), match[2]
    except NotFound as error:
        raise UnreachableError(
            f"{address}: no bucket {match[1]}, or the object was deleted. Check the address.", status=404
        ) from error
    except (Forbidden, Unauthorized) as error:
        raise UnreachableError(
            f"{address}: may not be read with your credentials ({_quote(describe(error))}). {SIGN_IN}, or ask its "
            "owner for the role Storage Object Viewer.",
            status=403,
        ) from error
    except InvalidOperation as error:  # an anonymous client was asked for credentials
        raise UnreachableError(
            f"{address}: not public, and no Google Cloud credentials were found. {SIGN_IN}.", status=401
        ) from error
    except (GoogleAPIError, TransportError, *network) as error:
        raise UnreachableError(
            f"{address}: cannot be reached ({_quote(find_cause(error))}), tried for {transfers.GIVE_UP_SECONDS} "
            "seconds. Check the network."
        ) from error
    except GoogleAuthError as error:
        found = "Google does not accept your credentials, which may have expired"
        if isinstance(error, DefaultCredentialsError):
            found = "no Google Cloud credentials were found"
        # The first argument only, and no traceback: the others are the sign-in server's answer, which holds tokens.
        words = _quote(error.args[0] if error.args else type(error).__name__)
        raise UnreachableError(f"{address}: {found} ({words}). {SIGN_IN}.", status=401) from None


def _quote(words: object) -> str:
    """Shorten a library's message to one line without tokens."""
    return textwrap.shorten(mask_tokens(str(words).strip().rstrip(".")), LONGEST_QUOTE)


def _find(bucket: "storage.Bucket", path: str, address: str) -> "dict[str, storage.Blob]":
    """Find the objects below a path, by the rest of their names; or the object at the path, under an empty name."""
    if path and (blob := bucket.get_blob(path, timeout=transfers.REQUEST_SECONDS, retry=transfers.retry_policy())):
        return {"": blob}
    start = len(f"{path}/") if path else 0
    blobs = {blob.name[start:]: blob for blob in _list(bucket, path)}
    if not blobs:
        raise UnreachableError(
            f"{address}: no such object, and none below it. Check the address for typing errors.", status=404
        )
    return blobs


def _list(bucket: "storage.Bucket", path: str) -> Iterator["storage.Blob"]:
    """List all objects below a path, without the placeholders of folders."""
    listing = bucket.list_blobs(
        prefix=f"{path}/" if path else "", retry=transfers.retry_policy(), timeout=transfers.REQUEST_SECONDS
    )
    return (blob for blob in listing if not blob.name.endswith("/"))


def _save(address: str, found: "dict[str, storage.Blob]", target: Path, on_progress: OnProgress | None) -> Path:
    """Download objects to a folder, or the one with an empty name to a file."""
    blobs = {target / _to_path(address, name) if name else target: blob for name, blob in found.items()}
    if both := next((path for path in blobs if not blobs.keys().isdisjoint(path.parents)), None):
        raise DataError(
            f"{address}: {both.relative_to(target)} lies below an object, which cannot be both a file and a folder "
            "here. Rename one."
        )
    total = sum(blob.size or 0 for blob in blobs.values())
    transfers.save_objects(blobs, on_progress=on_progress or report_download(address.rstrip("/"), total))
    return target


def _to_path(address: str, name: str) -> Path:
    """Convert an object's name to a relative path, checking that it stays within its folder."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or "\0" in name or PurePosixPath(name).is_absolute():
        raise DataError(f"{address}: has an object called {name!r}, which cannot be a file here. Rename it.")
    return Path(*parts)
