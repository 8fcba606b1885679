"""Google Cloud Storage on this machine: the emulator, with what it lacks of the real service, and faults on demand."""

import contextlib
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gcp_storage_emulator.server import create_server

MEDIA = re.compile(r"/download/storage/v1/b/([^/]+)/o/(.+)")
PERMISSIONS = re.compile(r"/storage/v1/b/([^/]+)/iam/testPermissions")


@dataclass
class Trouble:
    """What goes wrong with one answer.

    Attributes:
        where: A regular expression for the path; the first trouble that matches a request is used up by it.
        status: Instead of the answer.
        cut_after: Bytes of an object after which the connection breaks.
        silence_seconds: Before it breaks, or before the answer when nothing breaks.
        damaged_at: The byte of an object that arrives as another.
        ignores_range: Whether the whole object is sent, whatever part was asked for.
    """

    where: str = "/download/"
    status: int | None = None
    cut_after: int | None = None
    silence_seconds: float = 0.0
    damaged_at: int | None = None
    ignores_range: bool = False


class StorageServer:
    """Answers for the emulator behind it.

    Objects are served as Google does: a generation that is gone is not found, parts carry the sum of the whole, and
    what is stored packed comes packed to clients that accept it so. Permissions are those in `granted`; `token` is the
    answer to sign-ins at /token. While `barrier` is set, objects are sent when as many requests have come as it says.
    """

    def __init__(self, emulator_port: int) -> None:
        self.troubles: list[Trouble] = []
        self.granted: dict[str, set[str]] = {}
        self.token = (200, {"access_token": "valid", "expires_in": 3600, "token_type": "Bearer"})
        self.statuses: list[tuple[str, int]] = []
        self.sent_bytes = 0
        self.barrier: threading.Barrier | None = None
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._emulator_port = emulator_port
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.answer(self)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(handler.path)
        with self._lock:
            trouble = next((each for each in self.troubles if re.search(each.where, unquote(parts.path))), None)
            if trouble:
                self.troubles.remove(trouble)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            self._answer(handler, parts.path, parse_qs(parts.query), trouble or Trouble())
        finally:
            with self._lock:
                self._now -= 1

    def _answer(
        self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, list[str]], trouble: Trouble
    ) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        media, permissions = MEDIA.fullmatch(path), PERMISSIONS.fullmatch(path)
        if trouble.cut_after is None:
            time.sleep(trouble.silence_seconds)
        if trouble.status:
            error = {"error": {"code": trouble.status, "message": "trouble on demand"}}
            self._send(handler, trouble.status, {}, json.dumps(error).encode(), Trouble())
        elif path == "/token":
            status, content = self.token
            self._send(handler, status, {"Content-Type": "application/json"}, json.dumps(content).encode(), trouble)
        elif media:
            if self.barrier:
                self.barrier.wait(timeout=300)
            self._send_object(handler, media[1], unquote(media[2]), query, trouble)
        elif permissions and permissions[1] in self.granted:
            granted = [name for name in query.get("permissions", []) if name in self.granted[permissions[1]]]
            # As the real one does: no list at all when nothing is granted.
            content = {"kind": "storage#testIamPermissionsResponse", **({"permissions": granted} if granted else {})}
            self._send(handler, 200, {"Content-Type": "application/json"}, json.dumps(content).encode(), trouble)
        else:
            self._send(
                handler, *self._ask_emulator(handler.command, handler.path, dict(handler.headers), body), trouble
            )

    def _ask_emulator(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self._emulator_port)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, {k: v for k, v in response.getheaders() if k not in ("Content-Length", "Date")}, content

    def _send_object(
        self, handler: BaseHTTPRequestHandler, bucket: str, name: str, query: dict[str, list[str]], trouble: Trouble
    ) -> None:
        status, _, content = self._ask_emulator("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}", {})
        if status != 200:
            return self._send(handler, status, {}, content, trouble)
        about = json.loads(content)
        if query.get("generation", [about["generation"]]) != [about["generation"]]:
            return self._send(handler, 404, {}, b"No such object", trouble)
        _, _, body = self._ask_emulator("GET", f"/{bucket}/{quote(name)}", {})
        headers = {
            "x-goog-hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
            "x-goog-generation": about["generation"],
            "x-goog-stored-content-length": str(len(body)),
        }
        if encoding := about.get("contentEncoding"):
            headers["x-goog-stored-content-encoding"] = encoding
            if encoding in handler.headers.get("Accept-Encoding", ""):
                headers["Content-Encoding"] = encoding
            else:
                body = gzip.decompress(body)
        if trouble.damaged_at is not None:
            at = trouble.damaged_at
            body = body[:at] + bytes([body[at] ^ 255]) + body[at + 1 :]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        if not asked or trouble.ignores_range:
            return self._send(handler, 200, headers, body, trouble)
        start, total = int(asked[1]), len(body)
        if start >= total:
            return self._send(handler, 416, {"Content-Range": f"bytes */{total}"}, b"", trouble)
        part = body[start : int(asked[2]) + 1 if asked[2] else None]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{total}"
        return self._send(handler, 206, headers, part, trouble)

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, trouble: Trouble
    ) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.statuses.append((path, status))
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if MEDIA.fullmatch(path) or "/download/" in path:
            with self._lock:
                self.sent_bytes += len(body[: trouble.cut_after])
        with contextlib.suppress(ConnectionError):  # of a client that did not wait
            handler.wfile.write(body[: trouble.cut_after])
        if trouble.cut_after is not None:
            time.sleep(trouble.silence_seconds)

    def media_statuses(self) -> list[int]:
        """The statuses of the answers to requests for objects."""
        return [status for path, status in self.statuses if "/download/" in path]


@contextlib.contextmanager
def run_emulator() -> Iterator[int]:
    """A running emulator that keeps everything in memory; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    emulator = create_server("127.0.0.1", port, in_memory=True)
    emulator.start()
    try:
        yield port
    finally:
        emulator.stop()


@contextlib.contextmanager
def serve_storage(emulator_port: int) -> Iterator[StorageServer]:
    """A running server in front of an emulator."""
    server = StorageServer(emulator_port)
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
