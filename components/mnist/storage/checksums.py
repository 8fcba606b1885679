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
    """Sums of a whole file among the headers of an answer: x-goog-hash, Repr-Digest (RFC 9530), Content-MD5.

    Args:
        headers: Looked up by name in any case.
        whole: The answer brings the whole file; Content-MD5 is of what it brings.
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
        What it has and what was expected, in words; None when they all agree.
    """
    for algorithm, value in expected:
        arrived = _digest(path, algorithm)
        if arrived != value.lower():
            return f"the {algorithm} {arrived}; expected {value}"
    return None


def _digest(path: Path, algorithm: str) -> str:
    new = google_crc32c.Checksum() if algorithm == "crc32c" else hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            new.update(chunk)
    return str(new.digest().hex())
