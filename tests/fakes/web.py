"""A web server that gives prepared answers, with faults on demand."""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class Answer:
    """What the server sends for one request.

    Attributes:
        cut_after: Bytes of the body after which the connection breaks.
        wait_seconds: Silence before the answer.
        silence_seconds: Silence after it, before the connection breaks.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    wait_seconds: float = 0.0
    silence_seconds: float = 0.0


class Web:
    """A server on this machine: `answers[path]` are given one after another, the last of them for ever.

    Attributes:
        requests: The paths that were asked for.
        statuses, sent_bytes: Of the answers.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        self.statuses: list[int] = []
        self.sent_bytes = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append(self.path)
                web.send(self, web.choose(self))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def choose(self, request: BaseHTTPRequestHandler) -> Answer:
        """The next answer for a request."""
        path = request.path if request.path in self.answers else request.path.partition("?")[0]
        answers = self.answers.get(path, [Answer(b"no such page", 404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        """Answer a request."""
        time.sleep(answer.wait_seconds)
        self.statuses.append(answer.status)
        request.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            request.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # of a client that did not wait
            request.end_headers()
            self.sent_bytes += len(answer.body[: answer.cut_after])
            request.wfile.write(answer.body[: answer.cut_after])
        time.sleep(answer.silence_seconds)
