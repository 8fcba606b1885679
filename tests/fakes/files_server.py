"""A web server with files, ranges and validators as RFC 9110 has them, and with faults on demand."""

import datetime
import hashlib
import ipaddress
import re
import ssl
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.web import Answer, Web


@dataclass
class File:
    """One version of a file.

    Attributes:
        etag: "" for none, "auto" for a strong one of the content.
        changed: Seconds since 1970 at which it was changed; None to send no Last-Modified.
        has_ranges: Whether the server sends parts of it.
        minds_if_range: False for a server that ignores If-Range and sends parts of whatever it has now.
        labels_parts: Whether parts carry the validators of their version.
    """

    body: bytes
    etag: str = "auto"
    changed: float | None = None
    has_ranges: bool = True
    minds_if_range: bool = True
    labels_parts: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    def validators(self) -> dict[str, str]:
        """The headers that distinguish its versions."""
        etag = f'"{hashlib.sha256(self.body).hexdigest()[:16]}"' if self.etag == "auto" else self.etag
        found = {"ETag": etag} if etag else {}
        return found if self.changed is None else {**found, "Last-Modified": formatdate(self.changed, usegmt=True)}


@dataclass
class Fault:
    """What goes wrong with one answer.

    Attributes:
        cut_after: Bytes of the body after which the connection breaks.
        silence_seconds: Before it breaks.
        status: Instead of the file.
        range_shift: By how many bytes the part that is sent differs from the one that was asked for.
        range_bytes: At most as many are sent of a part.
        then: The file that replaces this one after the answer.
    """

    cut_after: int | None = None
    silence_seconds: float = 0.0
    status: int | None = None
    range_shift: int = 0
    range_bytes: int | None = None
    then: File | None = None


class FilesServer(Web):
    """Serves `files` by path; each answer takes one of `faults`."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, File] = {}
        self.faults: list[Fault] = []

    def secure(self, folder: Path) -> Path:
        """Speak TLS from now on; returns the self-signed certificate."""
        path = folder / "certificate.pem"
        _write_certificate(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = self.address.replace("http:", "https:")
        return path

    def choose(self, request: BaseHTTPRequestHandler) -> Answer:
        """The file, the part of it that was asked for, or the next fault."""
        fault = self.faults.pop(0) if self.faults else Fault()
        path = request.path.partition("?")[0]
        file = self.files.get(path)
        if fault.status or not file:
            return Answer(status=fault.status or 404)
        answer = self._select(file, request.headers.get("Range"), request.headers.get("If-Range"), fault)
        if fault.then:
            self.files[path] = fault.then
        return replace(answer, cut_after=fault.cut_after, silence_seconds=fault.silence_seconds)

    @staticmethod
    def _select(file: File, asked: str | None, condition: str | None, fault: Fault) -> Answer:
        """The part that was asked for, or everything."""
        validators = file.validators()
        headers = {**validators, **file.headers, "Accept-Ranges": "bytes" if file.has_ranges else "none"}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        is_same = condition is None or not file.minds_if_range or condition in validators.values()
        if not found or not file.has_ranges or not is_same:
            return Answer(file.body, headers=headers)
        total = len(file.body)
        start = int(found[1]) + fault.range_shift
        if start >= total:
            return Answer(status=416, headers={"Content-Range": f"bytes */{total}"})
        part = file.body[start : int(found[2]) + 1 if found[2] else None][: fault.range_bytes]
        headers = headers if file.labels_parts else {}
        return Answer(part, 206, {**headers, "Content-Range": f"bytes {start}-{start + len(part) - 1}/{total}"})


def _write_certificate(path: Path) -> None:
    """A key and a self-signed certificate for it."""
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
