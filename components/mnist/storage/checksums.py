"""Checksums of files: those that servers announce, and whether a file has them.

A sum is a pair of its algorithm, as hashlib calls it or crc32c, and its value in hexadecimal.
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
    """Sums of a whole file among the headers of a response: x-goog-hash, Repr-Digest (RFC 9530), Content-MD5.

    Args:
        headers: Looked up by name in any case.
        whole: Whether the response holds the whole file: Content-MD5 is the sum of what the response holds.
    """
    texts = [("md5", headers.get("Content-MD5", ""))] if whole else []
    texts += re.findall(r"(md5|crc32c)=([\w+/=]+)", headers.get("x-goog-hash", ""))
    texts += [("sha256", text) for text in re.findall(r"sha-256=:([\w+/=]+):", headers.get("Repr-Digest", ""))]
    return tuple((algorithm, unpack_sum(text)) for algorithm, text in texts if text and BASE64.fullmatch(text))


def unpack_sum(text: str) -> str:
    """From base64, in which servers write sums, to hexadecimal."""
    return base64.b64decode(text).hex()


def find_difference(path: Path, expected: Iterable[Sum]) -> str | None:
    """Compare a file with every sum that is expected of it.

    Returns:
        The first sum that differs and what was expected, in words; None when all agree.
    """
    for algorithm, value in expected:
        is_crc32c = algorithm == "crc32c"
        digest = google_crc32c.Checksum() if is_crc32c else hashlib.new(algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            # Not hashlib.file_digest: it gives memoryviews, which google_crc32c does not take.
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        if (arrived := digest.digest().hex()) != value.lower():
            return f"the {algorithm} {arrived}; expected {value}"
    return None
