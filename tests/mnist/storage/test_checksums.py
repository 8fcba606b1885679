import base64
import hashlib

import google_crc32c
import pytest

from components.mnist.storage.checksums import announced_sums, find_difference, unpack_sum

MD5 = hashlib.md5(b"content")
CRC32C = google_crc32c.Checksum(b"content")


def pack(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def test_every_known_sum_of_an_answer_is_found():
    headers = {
        "Content-MD5": pack(MD5.digest()),
        "x-goog-hash": f"crc32c={pack(CRC32C.digest())},md5={pack(MD5.digest())}",
        "Repr-Digest": f"sha-512=:AAAA:, sha-256=:{pack(hashlib.sha256(b'content').digest())}:",
    }
    assert announced_sums(headers, whole=True) == (
        ("md5", MD5.hexdigest()),
        ("crc32c", CRC32C.digest().hex()),
        ("md5", MD5.hexdigest()),
        ("sha256", hashlib.sha256(b"content").hexdigest()),
    )


def test_a_part_of_a_file_announces_only_the_sums_of_the_whole():
    headers = {"Content-MD5": pack(MD5.digest()), "x-goog-hash": f"md5={pack(MD5.digest())}"}
    assert announced_sums(headers, whole=False) == (("md5", MD5.hexdigest()),)


@pytest.mark.parametrize("text", ["", "not base64!", "QUJD=", "Ä"])
def test_what_is_no_sum_is_none(text):
    assert announced_sums({"Content-MD5": text}, whole=True) == ()


def test_the_crc32c_is_the_one_that_storage_writes(tmp_path):
    # The check value of CRC-32C (RFC 3720): of the nine digits.
    (tmp_path / "file").write_bytes(b"123456789")
    assert find_difference(tmp_path / "file", [("crc32c", unpack_sum("4waSgw=="))]) is None


def test_a_difference_says_what_arrived_and_what_was_expected(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    sums = [("sha256", hashlib.sha256(b"content").hexdigest().upper()), ("md5", "00" * 16)]
    assert find_difference(tmp_path / "file", sums) == f"the md5 {MD5.hexdigest()}; expected {'00' * 16}"
