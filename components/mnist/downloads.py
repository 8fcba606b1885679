"""Files from https:// addresses: whole and checked in place, or not there at all."""

import base64
import hashlib
import ipaddress
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, IncompleteRead, NewConnectionError, ProxyError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from components.mnist.arrays import describe
from components.mnist.errors import DataError
from components.mnist.progress import Progress

TRIES = 4
BACKOFF_SECONDS = 0.3  # doubled with each try
LONGEST_WAIT_SECONDS = 30  # that a server may ask for
CONNECT_SECONDS = 5
SILENCE_SECONDS = 30
CHUNK_BYTES = 2**20
PASSING = (429, 500, 502, 503, 504)  # states that another try may change
NOT_THERE = (404, 410)
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

# Told the bytes done and the bytes in all, None where nobody knows.
Show = Callable[[int, int | None], None]

CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the host's name is not known"),
    (ConnectTimeoutError, f"no connection within {CONNECT_SECONDS} seconds"),
    (IncompleteRead, "the connection broke"),
    (ProxyError, "the proxy does not let it through"),
    (TimeoutError, "no answer for too long"),
    (HTTPTimeoutError, "no answer for too long"),
)


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

    Broken connections, silence and passing troubles of the server are tried again, each time after a longer wait.

    Args:
        sha256: Expected, in hexadecimal; None to trust only what the server tells.
        show: Called with the bytes done and in all, as they come; None to tell whoever listens to a step.

    Raises:
        Unreachable: No network, a refusal, time-outs, another checksum, or a web page instead of data.
        DataError: The address is not one that is read, or the disk is too small.
    """
    check_address(address)
    partial = Path(tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")[1])
    try:
        _fetch(address, partial, sha256, show)
        partial.chmod(0o644)  # a temporary file is nobody else's to read
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _fetch(address: str, partial: Path, sha256: str | None, show: Show | None) -> None:
    name = public(address)
    with _new_session() as session:
        for attempt in range(1, TRIES + 1):
            try:
                return _try(session, address, partial, sha256, show)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                # What went wrong before data came, the session has tried again by itself.
                if isinstance(error, requests.RequestException) or attempt == TRIES:
                    raise Unreachable(
                        f"{name}: cannot be had ({_find_cause(error)}), tried {TRIES} times. Check the address and the "
                        "network, or bring the file here by other means and give its path."
                    ) from error
                time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
    return None


def _try(session: requests.Session, address: str, partial: Path, sha256: str | None, show: Show | None) -> None:
    name = public(address)
    with session.get(address, stream=True, timeout=(CONNECT_SECONDS, SILENCE_SECONDS)) as response:
        _check_response(name, response)
        _save(name, response, partial, show)
        _check_sums(name, response, partial, sha256)


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
    if code != 200:
        tried = f", tried {TRIES} times" if code in PASSING else ""
        raise Unreachable(f"{name}: the server answered {answer}{tried}; expected the file. Try later.", status=code)
    if "html" in response.headers.get("Content-Type", ""):
        raise Unreachable(
            f"{name}: looks like an HTML page; expected data. Is the address that of the file itself, and do you "
            "need to sign in?",
            status=code,
        )


def _save(name: str, response: requests.Response, partial: Path, show: Show | None) -> None:
    total = int(response.headers["Content-Length"]) if response.headers.get("Content-Length", "").isdigit() else None
    if total is not None and total > (free := shutil.disk_usage(partial.parent).free):
        raise DataError(f"{name}: {total:,} bytes but {partial.parent} has {free:,} left. Free some.")
    show = show or _tell_listener(name, total)
    done = 0
    # A server that says "Content-Encoding: gzip" of a .gz file means the file itself, which is wanted packed.
    unpack = not urlsplit(response.url).path.endswith(".gz")
    with partial.open("wb") as file:
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=unpack):
            file.write(chunk)
            done += len(chunk)
            show(done, total)


def _tell_listener(name: str, total: int | None) -> Show:
    progress = Progress(total, unit="bytes")

    def show(done: int, total: int | None) -> None:
        amount = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f}" if total else "")
        progress.update(done, f"downloading {name.rpartition('/')[2]}, {amount} MB")

    return show


def _check_sums(name: str, response: requests.Response, partial: Path, sha256: str | None) -> None:
    """Compare the file with every checksum that is known: the caller's, and those that the server sent."""
    expected = [("sha256", bytes.fromhex(sha256))] if sha256 else []
    if "Content-Encoding" not in response.headers:
        expected += _announced_sums(response)
    for algorithm, value in expected:
        with partial.open("rb") as file:
            arrived = hashlib.file_digest(file, algorithm).digest()
        if arrived != value:
            raise Unreachable(
                f"{name}: what arrived has the {algorithm} {arrived.hex()}; expected {value.hex()}. "
                "It was altered on the way or is another file: nothing was kept. Try again or check the address."
            )


def _announced_sums(response: requests.Response) -> list[tuple[str, bytes]]:
    """Checksums among the headers: Content-MD5, Google's x-goog-hash, Repr-Digest (RFC 9530)."""
    headers = response.headers
    texts = [("md5", text) for text in (headers.get("Content-MD5"),) if text]
    texts += [("md5", text) for text in re.findall(r"md5=([\w+/=]+)", headers.get("x-goog-hash", ""))]
    texts += [("sha256", text) for text in re.findall(r"sha-256=:([\w+/=]+):", headers.get("Repr-Digest", ""))]
    return [(algorithm, base64.b64decode(text)) for algorithm, text in texts if BASE64.fullmatch(text)]


def _find_cause(error: BaseException) -> str:
    """What a chain of wrapped exceptions comes down to, in few words."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        reason = getattr(link, "reason", None) or next((arg for arg in link.args if isinstance(arg, Exception)), None)
        link = reason if isinstance(reason, BaseException) else link.__cause__ or link.__context__
    for kind, words in CAUSES:
        if any(isinstance(link, kind) and not isinstance(link, NewConnectionError) for link in chain):
            return words
    return describe(chain[-1])
