"""Recognise a file by its first bytes, not by its name."""

from pathlib import Path

START_BYTES = 512

STARTS = (
    (b"PK", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"\x93NUMPY", "npy"),
    (b"\x89PNG", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"\x00\x00", "idx"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"\x80", "a Python pickle, which is never loaded because it can run code"),
)
PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")


def recognise(path: Path) -> str:
    """Name the kind of a file: "zip", "gzip", "npy", "picture", "idx", or a description for messages for all others."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if not start:
        return "an empty file"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return "an HTML page: is the address right, or do you need to sign in?"
    for beginning, kind in STARTS:
        if start.startswith(beginning):
            return kind
    return f"a file that begins with {start[:8]!r}"
