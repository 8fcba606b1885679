"""Real but tiny data, and a web server with faults on demand."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from components.mnist.sources import SAMPLE


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """Real digits: x_train, y_train, x_test, y_test; 200 for training and 60 for the test, all classes in both."""
    with np.load(SAMPLE) as file:
        return {key: file[key][: 200 if "train" in key else 60] for key in file}


@dataclass
class Answer:
    """What the server sends for one request.

    Attributes:
        cut_after: Bytes of the body after which the connection breaks.
        wait_seconds: Silence before the answer.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    wait_seconds: float = 0.0


class Web:
    """A server on this machine: `answers[path]` are given one after another, the last of them for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append(self.path)
                path = self.path if self.path in web.answers else self.path.partition("?")[0]
                answers = web.answers.get(path, [Answer(b"no such page", 404)])
                web.send(self, answers.pop(0) if len(answers) > 1 else answers[0])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        time.sleep(answer.wait_seconds)
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # of a client that did not wait
            handler.wfile.write(answer.body[: answer.cut_after])


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A running web server without any page."""
    monkeypatch.setenv("NO_PROXY", "*")
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()
