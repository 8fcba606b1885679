"""Files from https:// addresses: whole and checked in place, or not there at all."""

import ipaddress
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from components.mnist.data.arrays import describe
from components.mnist.errors import DataError
from components.mnist.progress import Progress
from components.mnist.storage.causes import find_cause
from components.mnist.storage.checksums import Sum, announced_sums, find_difference
from components.mnist.storage.partials import Partial, open_partial
from components.mnist.storage.versions import continues, find_version, read_length

TRIES = 4
BACKOFF_SECONDS = 0.3  # doubled with each try
LONGEST_WAIT_SECONDS = 30  # that a server may ask for
CONNECT_SECONDS = 5
SILENCE_SECONDS = 30
CHUNK_BYTES = 2**16  # what silence within a chunk loses
PASSING = (429, 500, 502, 503, 504)  # states that another try may change
NOT_THERE = (404, 410)

# Told the bytes done and the bytes in all, None where nobody knows.
Show = Callable[[int, int | None], None]


class Unreachable(DataError):  # noqa: N818  (what it is called where it is caught)
    """The data exists somewhere else but cannot be had from here: no network, no answer, a refusal, a wrong answer.

    Attributes:
        status: What the server answered with, 404 for instance; None where it did not get so far.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def public(address: str) -> str:
    """An address without the password or signature that it may carry, for logs and reports."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "..." if parts.query else "", ""))


def check_address(address: str) -> None:
    """Refuse http:// unless it stays on this machine: on the way anyone could change the data.

    Raises:
        DataError: It is http:// to somewhere else, or names no host.
    """
    parts = urlsplit(address)
    if not parts.hostname:
        raise DataError(f"{public(address)}: names no host; expected https://host/path.")
    if parts.scheme != "https" and not _is_here(parts.hostname):
        raise DataError(
            f"{public(address)}: {parts.scheme}:// is not read because data could be changed on the way; expected "
            "https://, or http:// on this machine only."
        )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def download(address: str, target: Path, *, sha256: str | None, show: Show | None = None) -> None:
    """Fetch one file; `target` appears only when all of it has arrived and every known checksum agrees.

    Broken connections, silence and passing troubles of the server are tried again, each time after a longer wait, and
    start where the last try ended if the server lets them. What a failed or interrupted download leaves beside the
    target, a later one goes on with; it leaves nothing of what could not be gone on with.

    Args:
        sha256: Expected, in hexadecimal; None to trust only what the server tells.
        show: Called with the bytes done and in all, as they come; None to tell whoever listens to a step.

    Raises:
        Unreachable: No network, a refusal, time-outs, another checksum, or a web page instead of data.
        DataError: The address is not one that is read, the disk is too small, or the target cannot be written.
    """
    check_address(address)
    try:
        with open_partial(target, address) as partial, _new_session() as session:
            _fetch(session, address, partial, sha256, show)
    except OSError as error:  # of files: those of the network have been explained
        raise DataError(
            f"{target}: cannot be written ({describe(error)}). Choose another place, or free it."
        ) from error


def _fetch(session: requests.Session, address: str, partial: Partial, sha256: str | None, show: Show | None) -> None:
    sums = _receive_all(session, address, partial, show)
    difference = _find_difference(partial, sha256, sums)
    if difference and partial.is_pieced:
        # The server may have changed the file without telling: it has to come in one piece.
        partial.clear()
        difference = _find_difference(partial, sha256, _receive_all(session, address, partial, show))
    if difference:
        partial.clear()
        raise Unreachable(
            f"{public(address)}: what arrived has {difference}. "
            "It was altered on the way or is another file: nothing was kept. Try again or check the address."
        )


def _find_difference(partial: Partial, sha256: str | None, sums: tuple[Sum, ...]) -> str | None:
    return find_difference(partial.path, [("sha256", sha256)] if sha256 else []) or find_difference(partial.path, sums)


def _receive_all(session: requests.Session, address: str, partial: Partial, show: Show | None) -> tuple[Sum, ...]:
    """Bring the rest of a file; returns the sums that the server announced for all of it."""
    attempt, furthest = 1, partial.size
    while True:
        try:
            if (sums := _receive(session, address, partial, show)) is not None:
                return sums
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            attempt = 1 if partial.version and partial.size > furthest else attempt + 1
            furthest = max(furthest, partial.size)
            # What went wrong before data came, the session has tried again by itself.
            if isinstance(error, requests.RequestException) or attempt > TRIES:
                raise Unreachable(
                    f"{public(address)}: cannot be had ({find_cause(error)}), tried {TRIES} times. Check the address "
                    "and the network, or bring the file here by other means and give its path."
                ) from error
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))


def _receive(session: requests.Session, address: str, partial: Partial, show: Show | None) -> tuple[Sum, ...] | None:
    """Take what one answer brings; None when that is not yet all of the file."""
    name = public(address)
    with _ask(session, address, partial) as response:
        if response.status_code in NOT_THERE:
            partial.clear()
        _check_response(name, response)
        sums = _start(response, partial)
        length = read_length(response)
        _check_space(name, partial.path.parent, length or 0)
        # What is unpacked on its way has nobody counted.
        total = partial.size + length if length is not None and not _is_packed(response) else None
        show = show or tell_listener(name, total)
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=_is_packed(response)):
            partial.write(chunk)
            show(partial.size, total)
    return None if partial.version and partial.size < partial.version.total else sums


def _start(response: requests.Response, partial: Partial) -> tuple[Sum, ...]:
    """Make ready for the bytes of an answer; returns the sums that the server announced for the whole file."""
    is_rest = response.status_code == 206
    sums = () if "Content-Encoding" in response.headers else announced_sums(response.headers, whole=not is_rest)
    if is_rest and partial.version:
        partial.is_pieced = True
        return partial.version.sums + sums
    partial.begin(None if _is_packed(response) else find_version(response, sums))
    return sums


def _ask(session: requests.Session, address: str, partial: Partial) -> requests.Response:
    """Ask for what is missing, or for everything where the server does not go on where the file ends."""
    timeout = (CONNECT_SECONDS, SILENCE_SECONDS)
    if partial.version and partial.size:
        # Of a file that is all here the last byte is fetched again: the server tells whether it is still the same.
        partial.shorten(min(partial.size, partial.version.total - 1))
        headers = {"Range": f"bytes={partial.size}-", "If-Range": partial.version.validator}
        response = session.get(address, stream=True, timeout=timeout, headers=headers)
        # 200 brings everything, and so does whatever is refused: it says why.
        if response.status_code not in (206, 416) or continues(response, partial.version, partial.size):
            return response
        response.close()
    partial.clear()
    return session.get(address, stream=True, timeout=timeout)


class _Session(requests.Session):
    """Follows redirections only to where data may come from."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if target := super().get_redirect_target(resp):
            check_address(urljoin(resp.url, target))
        return target


def _new_session() -> requests.Session:
    retry = urllib3.Retry(
        total=TRIES - 1,
        backoff_factor=BACKOFF_SECONDS,
        status_forcelist=PASSING,
        raise_on_status=False,
        retry_after_max=LONGEST_WAIT_SECONDS,
    )
    session = _Session()
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.headers["Accept-Encoding"] = "identity"
    return session


def _check_response(name: str, response: requests.Response) -> None:
    code, answer = response.status_code, f"{response.status_code} {response.reason}"
    if code in (401, 403):
        raise Unreachable(
            f"{name}: the server refuses it ({answer}); expected a public address. Is it right, and may everyone read "
            "it? Otherwise bring the file here by other means and give its path.",
            status=code,
        )
    if code in NOT_THERE:
        raise Unreachable(f"{name}: not found there ({answer}). Check the address for typing errors.", status=code)
    if code != 200 and not (code == 206 and "Range" in response.request.headers):
        tried = f", tried {TRIES} times" if code in PASSING else ""
        raise Unreachable(f"{name}: the server answered {answer}{tried}; expected the file. Try later.", status=code)
    if "html" in response.headers.get("Content-Type", ""):
        raise Unreachable(
            f"{name}: looks like an HTML page; expected data. Is the address that of the file itself, and do you "
            "need to sign in?",
            status=code,
        )


def _is_packed(response: requests.Response) -> bool:
    """Whether what comes is to be unpacked on its way.

    A server that says "Content-Encoding: gzip" of a .gz file means the file itself, which is wanted packed.
    """
    return "Content-Encoding" in response.headers and not urlsplit(response.url).path.endswith(".gz")


def _check_space(name: str, folder: Path, missing: int) -> None:
    if missing > (free := shutil.disk_usage(folder).free):
        raise DataError(f"{name}: {missing:,} bytes but {folder} has {free:,} left. Free some.")


def tell_listener(name: str, total: int | None) -> Show:
    """Tell whoever listens to a step how far a download is."""
    progress = Progress(total, unit="bytes")

    def show(done: int, total: int | None) -> None:
        amount = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f}" if total else "")
        progress.update(done, f"downloading {name.rpartition('/')[2]}, {amount} MB")

    return show
