import base64
import datetime
import gzip
import hashlib
import ipaddress
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.mnist import downloads
from components.mnist.downloads import Unreachable, download, public
from components.mnist.errors import DataError
from tests.conftest import Answer

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(downloads, "SILENCE_SECONDS", 0.3)


def refuse(address: str, folder: Path, **sums: str) -> Unreachable:
    """The refusal of a download; nothing may be left of it."""
    with pytest.raises(Unreachable) as caught:
        download(address, folder / "file", sha256=sums.get("sha256"))
    assert list(folder.iterdir()) == []
    return caught.value


def test_a_file_arrives_whole(web, tmp_path):
    web.answers["/data.npz"] = [Answer(BODY)]
    download(f"{web.address}/data.npz", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "faults",
    [
        [Answer(status=500), Answer(status=503)],
        [Answer(status=429, headers={"Retry-After": "0"})],
        [Answer(BODY, cut_after=5000), Answer(BODY, cut_after=100)],
        [Answer(BODY, wait_seconds=0.6)],
    ],
    ids=["server-errors", "too-many-requests", "cut-half-way", "silence"],
)
def test_passing_troubles_are_tried_again(web, tmp_path, faults):
    web.answers["/data.npz"] = [*faults, Answer(BODY)]
    download(f"{web.address}/data.npz", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(web.requests) == len(faults) + 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404), "not found there (404 Not Found). Check the address"),
        (Answer(status=403), "the server refuses it (403 Forbidden); expected a public address"),
        (Answer(status=401), "the server refuses it (401 Unauthorized); expected a public address"),
        (Answer(status=400), "the server answered 400 Bad Request; expected the file"),
    ],
    ids=["missing", "forbidden", "sign-in", "bad-request"],
)
def test_a_refusal_is_told_at_once(web, tmp_path, answer, words):
    web.answers["/data.npz"] = [answer]
    error = refuse(f"{web.address}/data.npz", tmp_path)
    assert words in str(error)
    assert error.status == answer.status
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=503), "the server answered 503 Service Unavailable, tried 4 times"),
        (Answer(BODY, cut_after=5000), "cannot be had (the connection broke), tried 4 times"),
        (Answer(BODY, wait_seconds=0.6), "cannot be had (no answer for too long), tried 4 times"),
    ],
    ids=["server-error", "cut", "silence"],
)
def test_lasting_troubles_are_told_after_four_tries(web, tmp_path, answer, words):
    web.answers["/data.npz"] = [answer]
    assert words in str(refuse(f"{web.address}/data.npz", tmp_path))
    assert len(web.requests) == 4


def test_a_web_page_is_not_taken_for_data(web, tmp_path):
    web.answers["/data.npz"] = [Answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})]
    assert "looks like an HTML page; expected data" in str(refuse(f"{web.address}/data.npz", tmp_path))


def test_a_wrong_checksum_is_refused(web, tmp_path):
    web.answers["/data.npz"] = [Answer(BODY)]
    error = refuse(f"{web.address}/data.npz", tmp_path, sha256="ab" * 32)
    assert f"what arrived has the sha256 {SHA256}; expected abab" in str(error)


def announcing(algorithm: str, content: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.new(algorithm, content).digest()).decode()
    return {"md5": {"x-goog-hash": f"crc32c=AAAAAA==,md5={digest}"}, "sha256": {"Repr-Digest": f"sha-256=:{digest}:"}}[
        algorithm
    ]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_checksum_that_the_server_announces_is_compared(web, tmp_path, algorithm):
    web.answers["/good"] = [Answer(BODY, headers=announcing(algorithm, BODY))]
    web.answers["/bad"] = [Answer(BODY, headers=announcing(algorithm, b"something else"))]
    assert f"what arrived has the {algorithm}" in str(refuse(f"{web.address}/bad", tmp_path))
    download(f"{web.address}/good", tmp_path / "file", sha256=None)


def test_a_malformed_checksum_of_the_server_is_no_reason_to_refuse(web, tmp_path):
    web.answers["/file"] = [Answer(BODY, headers={"Content-MD5": "not base64!"})]
    download(f"{web.address}/file", tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_gz_file_stays_packed_although_the_server_calls_that_an_encoding(web, tmp_path):
    packed = gzip.compress(BODY)
    web.answers["/file.gz"] = [Answer(packed, headers={"Content-Encoding": "gzip"})]
    web.answers["/file.npz"] = [Answer(packed, headers={"Content-Encoding": "gzip"})]
    download(f"{web.address}/file.gz", tmp_path / "packed", sha256=None)
    download(f"{web.address}/file.npz", tmp_path / "unpacked", sha256=None)
    assert (tmp_path / "packed").read_bytes() == packed
    assert (tmp_path / "unpacked").read_bytes() == BODY


def test_nobody_listening_is_told_with_the_reason(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refuse(f"http://127.0.0.1:{port}/data.npz", tmp_path)
    assert "cannot be had (Connection refused), tried 4 times. Check the address and the network" in str(error)
    assert error.status is None


def test_an_unknown_host_is_told(tmp_path):
    assert "(the host's name is not known)" in str(refuse("https://no-such-host.invalid/data.npz", tmp_path))


def write_certificate(path: Path) -> None:
    """A key and a certificate for it that nobody else signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


def test_a_certificate_that_nobody_signed_is_refused(web, tmp_path):
    write_certificate(tmp_path / "pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    (tmp_path / "target").mkdir()
    error = refuse(web.address.replace("http", "https"), tmp_path / "target")
    assert "certificate verify failed" in str(error)


def test_http_is_read_from_this_machine_only(tmp_path):
    with pytest.raises(
        DataError, match=r"http:// is not read because data could be changed on the way; expected https"
    ):
        download("http://example.com/data.npz", tmp_path / "file", sha256=None)


def test_a_redirection_may_not_leave_https(web, tmp_path):
    web.answers["/data.npz"] = [Answer(status=302, headers={"Location": "http://example.com/data.npz"})]
    with pytest.raises(DataError, match=r"http://example.com/data.npz: http:// is not read"):
        download(f"{web.address}/data.npz", tmp_path / "file", sha256=None)
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_shown_without_what_is_secret():
    assert public("https://me:secret@host:8080/a/b.npz?signature=secret#x") == "https://host:8080/a/b.npz?..."


def test_what_was_there_stays_when_a_download_fails(web, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(Unreachable):
        download(f"{web.address}/missing", tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == b"old"
