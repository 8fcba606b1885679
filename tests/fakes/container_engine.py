"""A Docker Engine that speaks the engine's API over HTTP, as far as this project uses it, and refuses on demand."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class PlayedEngine:
    """An engine with images, and containers that end at once.

    Attributes:
        labels: Of each image, by its name with tag.
        info: What it says of itself.
        refusals: By action (create, start, remove): the status and the message of its answer.
        on_create: Called when a container exists, before its creation is answered.
        containers: Those that exist now.
        actions: What was done to containers, in order: create, attach, start, wait, remove.
    """

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, str]] = {}
        self.info: dict[str, Any] = {"DockerRootDir": "/var/lib/docker", "Runtimes": {"runc": {}}}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.on_create: Callable[[], None] = lambda: None
        self.containers: list[str] = []
        self.actions: list[str] = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                played._handle(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"tcp://127.0.0.1:{self.server.server_port}"

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        parts = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        status, content = self._answer(handler.command, re.sub(r"^/v[0-9.]+", "", parts.path), query)
        body = json.dumps(content).encode() if content is not None else b""
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _answer(self, method: str, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if (method, path) == ("GET", "/version"):
            return 200, {"Version": "28.2.2", "ApiVersion": "1.50", "Components": [{"Name": "Engine"}]}
        if (method, path) == ("GET", "/info"):
            return 200, self.info
        if method == "GET" and (found := re.fullmatch(r"/images/(.+)/json", path)):
            if found[1] not in self.labels:
                return 404, {"message": f"No such image: {found[1]}"}
            return 200, {"Id": found[1], "RepoTags": [found[1]], "Config": {"Labels": self.labels[found[1]]}}
        if (method, path) == ("POST", "/containers/create"):
            return self._create()
        found = re.fullmatch(r"/containers/(c\d+)(/\w+)?", path)
        if not found or found[1] not in self.containers:
            return 404, {"message": "No such container"}
        return self._answer_container(found[1], method, found[2], query)

    def _create(self) -> tuple[int, Any]:
        self.actions.append("create")
        if "create" in self.refusals:
            return self._refuse("create")
        self.containers.append(f"c{len(self.containers)}")
        self.on_create()
        return 201, {"Id": self.containers[-1], "Warnings": []}

    def _answer_container(
        self, container: str, method: str, action: str | None, query: dict[str, str]
    ) -> tuple[int, Any]:
        name = "remove" if method == "DELETE" else str(action).removeprefix("/")
        if (method, name) == ("GET", "json"):
            return 200, {"Id": container, "State": {"OOMKilled": False}, "Config": {"Tty": False}}
        self.actions.append(name)
        if name in self.refusals:
            return self._refuse(name)
        if name == "remove" or query.get("condition") == "removed":
            self.containers.remove(container)
        return (200, {"StatusCode": 0}) if name == "wait" else (204, None)

    def _refuse(self, action: str) -> tuple[int, Any]:
        status, message = self.refusals[action]
        return status, {"message": message}


@contextmanager
def run_engine() -> Iterator[PlayedEngine]:
    """An engine that answers at its address until the block ends; no container may be left in it then."""
    played = PlayedEngine()
    threading.Thread(target=played.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield played
    finally:
        played.server.shutdown()
        played.server.server_close()
    assert played.containers == []
