"""Checksums of files: read from the headers of servers, and compared with files.

A sum is a pair of an algorithm (hashlib's name, or crc32c) and a value in hexadecimal.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import google_crc32c

Sum = tuple[str, str]

CHUNK_BYTES = 2**20
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def announced_sums(headers: Mapping[str, str], *, whole: bool) -> tuple[Sum, ...]:
    """Read a whole file's sums from a response's headers: x-goog-hash, Repr-Digest (RFC 9530), Content-MD5.

    Args:
        headers: A mapping with case-insensitive names.
        whole: Whether the response holds the whole file: Content-MD5 is the sum of the response's content only.
    """
    texts = [("md5", headers.get("Content-MD5", ""))] if whole else []
    texts += re.findall(r"(md5|crc32c)=([\w+/=]+)", headers.get("x-goog-hash", ""))
    texts += [("sha256", text) for text in re.findall(r"sha-256=:([\w+/=]+):", headers.get("Repr-Digest", ""))]
    return tuple((algorithm, unpack_sum(text)) for algorithm, text in texts if text and BASE64.fullmatch(text))


def unpack_sum(text: str) -> str:
    """Convert a sum from base64, as servers write it, to hexadecimal."""
    return base64.b64decode(text).hex()


def find_difference(path: Path, expected: Iterable[Sum]) -> str | None:
    """Compare a file with its expected sums.

    Returns:
        A description of the first sum that differs; None if all agree.
    """
    for algorithm, value in expected:
        is_crc32c = algorithm == "crc32c"
        digest = google_crc32c.Checksum() if is_crc32c else hashlib.new(algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            # Not hashlib.file_digest: it passes memoryviews, which google_crc32c does not accept.
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        if (arrived := digest.digest().hex()) != value.lower():
            return f"the {algorithm} {arrived}; expected {value}"
    return None
