"""Identify the version of a file in a response, and whether a response continues another.

RFC 9110: Range requests the rest of a file, and If-Range all of it if the file has changed.
"""

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

import requests

from components.mnist.storage.checksums import Sum

# Two changes within one second may have the same Last-Modified, and clocks differ.
SETTLED_SECONDS = 60


@dataclass(frozen=True)
class Version:
    """One version of a file.

    Attributes:
        validator: A strong ETag, or Last-Modified.
        total: Size in bytes.
        sums: Checksums from the server's headers.
    """

    validator: str
    total: int
    sums: tuple[Sum, ...] = ()


def find_version(response: requests.Response, sums: tuple[Sum, ...]) -> Version | None:
    """Return the version of a response with a whole file; None if its rest could not be requested later."""
    total, headers = read_length(response), response.headers
    if total is None or headers.get("Accept-Ranges", "").lower() == "none":
        return None
    if re.fullmatch(r'"[\x21\x23-\x7e]*"', etag := headers.get("ETag", "")):
        return Version(etag, total, sums)
    changed, now = (parsedate_tz(headers.get(name, "")) for name in ("Last-Modified", "Date"))
    if changed and now and mktime_tz(now) - mktime_tz(changed) >= SETTLED_SECONDS:
        return Version(headers["Last-Modified"], total, sums)
    return None


def continues(response: requests.Response, version: Version, start: int) -> bool:
    """Whether a response holds bytes of this version from `start` on, with their number."""
    found = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or not found:
        return False
    first, last, total = (int(number) for number in found.groups())
    name = "ETag" if version.validator.startswith('"') else "Last-Modified"
    return (
        first == start <= last < total == version.total
        and read_length(response) == last - first + 1
        and response.headers.get(name, version.validator) == version.validator
    )


def read_length(response: requests.Response) -> int | None:
    """Return the Content-Length of a response; None if it has no valid one."""
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,19}", length) else None
