"""Download files from https:// addresses: a file is complete and verified, or missing."""

import contextlib
import ipaddress
import shutil
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from components.mnist.errors import DataError, UnreachableError, describe
from components.mnist.progress import OnProgress, report_download
from components.mnist.storage.causes import find_cause
from components.mnist.storage.checksums import Sum, announced_sums, find_difference
from components.mnist.storage.partials import Partial, open_partial
from components.mnist.storage.versions import continues, find_version, read_length

TRIES = 4
BACKOFF_SECONDS = 0.3  # doubled with each try
LONGEST_WAIT_SECONDS = 30  # longest Retry-After that is obeyed
CONNECT_SECONDS = 5
SILENCE_SECONDS = 30
CHUNK_BYTES = 2**16  # at most this much is lost when the connection falls silent
TRANSIENT = (429, 500, 502, 503, 504)  # statuses worth another try
MISSING = (404, 410)


def public(address: str) -> str:
    """Remove passwords and signatures from an address, for logs and reports."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "..." if parts.query else "", ""))


def check_address(address: str) -> None:
    """Refuse http:// except on this machine: data could be altered in transit.

    Raises:
        DataError: It is http:// to another machine, or names no host.
    """
    parts = urlsplit(address)
    if not parts.hostname:
        raise DataError(f"{public(address)}: names no host; expected https://host/path.")
    is_this_machine = parts.hostname == "localhost"
    with contextlib.suppress(ValueError):  # a name
        is_this_machine = ipaddress.ip_address(parts.hostname).is_loopback
    if parts.scheme != "https" and not is_this_machine:
        raise DataError(
            f"{public(address)}: {parts.scheme}:// is not supported because data could be altered in transit; expected "
            "https://, or http:// on this machine only."
        )


def download(address: str, target: Path, *, sha256: str | None, on_progress: OnProgress | None = None) -> None:
    """Download one file; `target` appears only when it is complete and every known checksum agrees.

    After broken connections, silence and transient server errors, the download is tried again with exponential
    backoff, and resumed if the server allows it. A failed or interrupted download leaves a partial file beside the
    target if a later one can resume it, and nothing else.

    Args:
        sha256: Expected, in hexadecimal; None to compare only the checksums in the server's headers.
        on_progress: Called as bytes arrive; None to report the progress as a step does.

    Raises:
        UnreachableError: No network, a refusal, time-outs, a wrong checksum, or a web page instead of data.
        DataError: The address is not supported, the disk is too small, or the target cannot be written.
    """
    check_address(address)
    try:
        with open_partial(target, address) as partial, _Session() as session:
            expected = [("sha256", sha256)] if sha256 else []
            difference = _receive_all(session, address, partial, expected, on_progress)
            if difference and partial.is_pieced:
                # The server may have changed the file without changing its validator: fetch it in one piece.
                partial.clear()
                difference = _receive_all(session, address, partial, expected, on_progress)
            if difference:
                partial.clear()
                raise UnreachableError(
                    f"{public(address)}: the downloaded file has {difference}. "
                    "It was altered in transit or is another file: nothing was kept. Try again or check the address."
                )
    except OSError as error:  # a file's: network errors have become UnreachableError
        raise DataError(
            f"{target}: cannot be written ({describe(error)}). Choose another path, or free some space."
        ) from error


def _receive_all(
    session: requests.Session, address: str, partial: Partial, expected: list[Sum], on_progress: OnProgress | None
) -> str | None:
    """Download the rest of a file; return a description of the first sum that differs, or None."""
    attempt, furthest = 1, partial.size
    while True:
        try:
            if (sums := _receive(session, address, partial, on_progress)) is not None:
                return find_difference(partial.path, [*expected, *sums])
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            attempt = 1 if partial.version and partial.size > furthest else attempt + 1
            furthest = max(furthest, partial.size)
            # Failures before the first byte are requests' own exceptions, which the session has retried already.
            if isinstance(error, requests.RequestException) or attempt > TRIES:
                raise UnreachableError(
                    f"{public(address)}: cannot be fetched ({find_cause(error)}), tried {TRIES} times. Check the "
                    "address and the network, or copy the file here by other means and give its path."
                ) from error
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))


def _receive(
    session: requests.Session, address: str, partial: Partial, on_progress: OnProgress | None
) -> tuple[Sum, ...] | None:
    """Append one response to the partial file; return the sums, or None if the file is not complete yet."""
    name = public(address)
    with _request(session, address, partial) as response:
        if response.status_code in MISSING:
            partial.clear()
        _check_response(name, response)
        is_rest = response.status_code == 206
        # For a .gz file, "Content-Encoding: gzip" means the file itself, which stays packed.
        unpack = "Content-Encoding" in response.headers and not urlsplit(response.url).path.endswith(".gz")
        sums = () if "Content-Encoding" in response.headers else announced_sums(response.headers, whole=not is_rest)
        if is_rest and partial.version:
            partial.is_pieced = True
            sums = partial.version.sums + sums
        else:
            partial.begin(None if unpack else find_version(response, sums))
        length, folder = read_length(response), partial.path.parent
        if (length or 0) > (free := shutil.disk_usage(folder).free):
            raise DataError(f"{name}: {length:,} bytes but {folder} has {free:,} left. Free some.")
        # The size after unpacking is unknown.
        total = partial.size + length if length is not None and not unpack else None
        on_progress = on_progress or report_download(name, total)
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=unpack):
            partial.write(chunk)
            on_progress(partial.size, total)
    return None if partial.version and partial.size < partial.version.total else sums


def _request(session: requests.Session, address: str, partial: Partial) -> requests.Response:
    """Request the missing part of a file, or all of it if the server cannot resume the download."""
    timeout = (CONNECT_SECONDS, SILENCE_SECONDS)
    if partial.version and partial.size:
        # Of a complete file, the last byte is fetched again, to check that the file has not changed.
        partial.shorten(min(partial.size, partial.version.total - 1))
        headers = {"Range": f"bytes={partial.size}-", "If-Range": partial.version.validator}
        response = session.get(address, stream=True, timeout=timeout, headers=headers)
        # 200 holds the whole file; a refusal has its reason.
        if response.status_code not in (206, 416) or continues(response, partial.version, partial.size):
            return response
        response.close()
    partial.clear()
    return session.get(address, stream=True, timeout=timeout)


class _Session(requests.Session):
    """Retries requests after transient errors, and follows redirects only to allowed addresses."""

    def __init__(self) -> None:
        super().__init__()
        retry = urllib3.Retry(
            total=TRIES - 1,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=TRANSIENT,
            raise_on_status=False,
            retry_after_max=LONGEST_WAIT_SECONDS,
        )
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(max_retries=retry))
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if target := super().get_redirect_target(resp):
            check_address(urljoin(resp.url, target))
        return target


def _check_response(name: str, response: requests.Response) -> None:
    code, answer = response.status_code, f"{response.status_code} {response.reason}"
    if code in (401, 403):
        problem = (
            f"the server refuses it ({answer}); expected a public address. Check that it is right and that everyone "
            "may read it, or copy the file here by other means and give its path."
        )
    elif code in MISSING:
        problem = f"not found ({answer}). Check the address for typing errors."
    elif code != 200 and not (code == 206 and "Range" in response.request.headers):
        tried = f", tried {TRIES} times" if code in TRANSIENT else ""
        problem = f"the server answered {answer}{tried}; expected the file. Try later."
    elif "html" in response.headers.get("Content-Type", ""):
        problem = (
            "looks like an HTML page; expected data. Check that the address is that of the file itself, and whether "
            "you need to sign in."
        )
    else:
        return
    raise UnreachableError(f"{name}: {problem}", status=code)
