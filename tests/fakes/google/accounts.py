"""Google's sign-in server, played: a service account whose key it knows gets tokens from it."""

import functools
import ipaddress
import json
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import google.auth.jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

EMAIL = "tester@my-project.iam.gserviceaccount.com"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"  # whatever address the key names
SCOPES = {"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/iam"}


@dataclass(frozen=True)
class Identity:
    """A key with a certificate for this machine.

    Attributes:
        key, certificate: PEM.
    """

    key: bytes
    certificate: bytes


@functools.cache
def identity() -> Identity:
    """The identity of every server in this process, since gRPC reads the certificates that it trusts only once."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Identity(private, certificate.public_bytes(serialization.Encoding.PEM))


class SignIn:
    """Gives a token to whoever proves to have the account's key.

    Attributes:
        tokens: The tokens that are valid now.
        given: Every token that was given.
        lifetime_seconds: The lifetime that answers state.
        refusal: The status and fields of an error as Google answers it; None gives a token.
    """

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.given: list[str] = []
        self.lifetime_seconds = 3599
        self.refusal: tuple[int, dict[str, str]] | None = None
        sign_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, answer = sign_in.answer({key: values[0] for key, values in parse_qs(body).items()})
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        """What a request for a token gets: status and JSON."""
        if self.refusal:
            # A server that is too talkative: it repeats what it was sent, where the words ask for it.
            words = {
                key: value.replace("{assertion}", form.get("assertion", "")) for key, value in self.refusal[1].items()
            }
            return self.refusal[0], words
        if form.get("grant_type") != GRANT:
            return 400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}
        try:
            claims = google.auth.jwt.decode(form["assertion"], certs=identity().certificate, audience=AUDIENCE)
        except (KeyError, ValueError) as error:
            return 400, {"error": "invalid_grant", "error_description": f"Invalid JWT Signature. {error}"}
        if claims.get("iss") != EMAIL or not SCOPES & set(str(claims.get("scope")).split()):
            return 400, {"error": "invalid_scope", "error_description": "Invalid OAuth scope or ID token audience."}
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self.tokens.add(token)
        self.given.append(token)
        return 200, {"access_token": token, "expires_in": self.lifetime_seconds, "token_type": "Bearer"}

    def knows(self, token: str) -> bool:
        """Whether a token is valid: given and not revoked, or signed by the account itself, as Google's SDK does."""
        if token in self.tokens:
            return True
        try:
            claims = google.auth.jwt.decode(token, certs=identity().certificate)
        except ValueError:
            return False
        is_scoped = bool(SCOPES & set(str(claims.get("scope")).split()))
        return self.refusal is None and claims.get("iss") == EMAIL and is_scoped

    def refuse(self, error: str = "invalid_grant", description: str = "Token has been expired or revoked.") -> None:
        """Revoke every token and give no new one."""
        self.tokens.clear()
        self.refusal = 400, {"error": error, "error_description": description}

    def write_key(self, file: Path) -> None:
        """Write the account's key as Google's console gives it."""
        content = {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "played",
            "private_key": identity().key.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": self.address,
        }
        file.write_text(json.dumps(content), encoding="utf-8")

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
