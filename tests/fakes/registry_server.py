"""A fake container registry on this machine: manifests by digest, and a token server with users."""

import base64
import json
import re
import secrets
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MANIFEST = re.compile(r"/v2/(.+)/manifests/(sha256:[0-9a-f]{64})")


@dataclass
class Registry:
    """A running registry.

    Attributes:
        images: Name and digest of each.
        users: Passwords by user.
        is_open: Whether everyone may pull.
        scheme: How a client signs in: "Bearer", by the token server, or "Basic".
        status: The answer to every request, if set.
        changes: Requests that would change something.
    """

    images: set[tuple[str, str]] = field(default_factory=set)
    users: dict[str, str] = field(default_factory=dict)
    is_open: bool = True
    scheme: str = "Bearer"
    status: int | None = None
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tokens: dict[str, str] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def do_PUT(self) -> None:
                registry.changes.append(f"{self.command} {self.path}")
                self.send_error(405)

            do_POST = do_PATCH = do_DELETE = do_PUT  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(handler.path)
        given = handler.headers.get("Authorization", "")
        headers, body = {}, b""
        if self.status:
            status = self.status
        elif parts.path == "/token":
            status, body = self._give_token(given, parse_qs(parts.query))
        elif not (found := MANIFEST.fullmatch(parts.path)):
            status = 404
        elif not self._may_pull(given, found[1]):
            status, headers = 401, {"WWW-Authenticate": self._challenge(found[1])}
        else:
            status = 200 if (found[1], found[2]) in self.images else 404
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def _challenge(self, name: str) -> str:
        if self.scheme == "Basic":
            return 'Basic realm="registry"'
        return f'Bearer realm="http://{self.host}/token",service="{self.host}",scope="repository:{name}:pull"'

    def _give_token(self, given: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        if not self._knows(given) and (given or not self.is_open):
            return 401, b"{}"
        token = secrets.token_hex(8)
        self._tokens[token] = query["scope"][0]
        return 200, json.dumps({"token": token}).encode()

    def _may_pull(self, given: str, name: str) -> bool:
        if self.scheme == "Basic":
            return self._knows(given)
        return self._tokens.get(given.removeprefix("Bearer ")) == f"repository:{name}:pull"

    def _knows(self, given: str) -> bool:
        user, _, password = base64.b64decode(given.removeprefix("Basic ") or "").decode().partition(":")
        return given.startswith("Basic ") and self.users.get(user) == password
