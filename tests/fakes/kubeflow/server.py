"""Kubeflow Pipelines, played on this machine: its API v2beta1 over HTTP, its state, and faults at any call.

    with KubeflowServer(namespaces=("team-a",)) as server:
        profile = KubeflowProfile(name="cluster", platform="kubeflow", host=server.host, namespace="team-a")
        server.script(SUCCESS)
        server.fail("CreateRun", "lost")

What came of it is read from `server.runs`, `server.recurring_runs` and `server.experiments`: JSON as it is answered.
"""

import contextlib
import json
import re
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.fakes.kubeflow.contract import Refusal
from tests.fakes.kubeflow.doors import Call, Door, OpenDoor, Reply, page, spell
from tests.fakes.kubeflow.state import State

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends RST instead of FIN
LONGEST_SILENCE_SECONDS = 600.0  # only against hanging: it ends with the server
# Addresses of clients whose answer will not come, once the server has done all that it does with the call.
UNANSWERED: set[tuple[str, int]] = set()
ROUTES = {
    "GetHealthz": r"GET /apis/v2beta1/healthz",
    "ListExperiments": r"GET /apis/v2beta1/experiments",
    "CreateExperiment": r"POST /apis/v2beta1/experiments",
    "GetExperiment": r"GET /apis/v2beta1/experiments/([^/:]+)",
    "ListRuns": r"GET /apis/v2beta1/runs",
    "CreateRun": r"POST /apis/v2beta1/runs",
    "GetRun": r"GET /apis/v2beta1/runs/([^/:]+)",
    "TerminateRun": r"POST /apis/v2beta1/runs/([^/:]+):terminate",
    "GetRunV1": r"GET /apis/v1beta1/runs/([^/:]+)",
    "ListRecurringRuns": r"GET /apis/v2beta1/recurringruns",
    "CreateRecurringRun": r"POST /apis/v2beta1/recurringruns",
    "GetRecurringRun": r"GET /apis/v2beta1/recurringruns/([^/:]+)",
    "EnableRecurringRun": r"POST /apis/v2beta1/recurringruns/([^/:]+):enable",
    "DisableRecurringRun": r"POST /apis/v2beta1/recurringruns/([^/:]+):disable",
    "DeleteRecurringRun": r"DELETE /apis/v2beta1/recurringruns/([^/:]+)",
}
# What a fault answers instead of carrying a call out.
ANSWERS = {
    "400": "Invalid input error: the server refuses this for a test",
    "401": "Unauthenticated: request lacks valid credentials",
    "403": "PermissionDenied: User 'user@example.com' is not authorized",
    "404": "ResourceNotFoundError: it is not here",
    "409": "AlreadyExistError: it is here already",
    "429": "ResourceExhausted: too many requests",
    "500": "InternalServerError: the database has gone away",
    "502": "bad gateway",
    "503": "upstream connect error or disconnect/reset before headers",
    "504": "upstream request timeout",
}
GRPC = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14, 504: 4}
FAULTS = (*ANSWERS, "timeout", "cut", "cut-headers", "cut-body", "lost", "page", "elsewhere", "moved")
SILENT = ("timeout", "lost")
ANOTHER = "another"  # 200 with the body of the fault


@dataclass
class Fault:
    """What happens to a call.

    Attributes:
        kind: One of FAULTS. Before anything was done: a status, `timeout` (silence), `cut` (a reset), `page` (a login
            page with 200), `elsewhere` (a redirection to one), `moved` (to another address). After it was done:
            `cut-headers`, `cut-body`, `lost` (silence).
        times: How often, before calls go well again.
        retry_after: What the header says.
        body: Instead of the fault's own words; with the kind `another` it comes with 200.
    """

    kind: str
    times: int
    retry_after: str = ""
    body: bytes | None = None


class KubeflowServer:
    """A running server; with `with`, it ends afterwards.

    Args:
        namespaces: Of the profiles; none for a Kubeflow Pipelines that was installed alone.
        door: What asks who comes in.
        path: Of its page below the host, as /pipeline in a whole Kubeflow; the API is nowhere else.
        encryption: Its certificate; None for plain HTTP.

    Attributes:
        host: For a profile.
        calls: The names of all that were taken, in their order.
        requests: Everything that was asked, with its headers.
        on_silence: Called when a call will get no answer.
    """

    def __init__(
        self,
        *,
        namespaces: tuple[str, ...] = (),
        door: Door | None = None,
        path: str = "",
        encryption: ssl.SSLContext | None = None,
    ) -> None:
        self.state = State(namespaces)
        self.runs, self.recurring_runs, self.experiments = (
            self.state.runs,
            self.state.recurring_runs,
            self.state.experiments,
        )
        self.door = door or OpenDoor()
        self.calls: list[str] = []
        self.requests: list[Call] = []
        self.on_silence: Callable[[], object] = lambda: None
        self._path = path
        self._encryption = encryption
        self._faults: dict[str, Fault] = {}
        self._faults_after: dict[str, tuple[str, Fault]] = {}
        self._refuse_after = ""
        self._open: set[socket.socket] = set()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._listener = self._bind(0)
        self._is_listening = False
        self.accept()
        self.port: int = self._listener.server_port
        self.origin = f"{'https' if encryption else 'http'}://localhost:{self.port}"
        self.host = self.origin + path

    def __enter__(self) -> "KubeflowServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._closing.set()
        self._stop_listening()

    def fail(self, call: str, kind: str, *, times: int = 1, retry_after: str = "", body: bytes | None = None) -> None:
        """Let a fault happen at the next calls of a name of ROUTES; see `Fault`."""
        assert call in ROUTES, call
        assert kind in (*FAULTS, ANOTHER), kind
        self._faults[call] = Fault(kind, times, retry_after, body)

    def fail_after(self, first: str, call: str, kind: str, *, times: int = 1) -> None:
        """Let a fault happen at a call from when another has been taken."""
        self._faults_after[first] = call, Fault(kind, times)

    def refuse(self, *, after: str = "") -> None:
        """Drop all connections and refuse new ones, now or from when a call has been answered, until `accept`."""
        if after:
            self._refuse_after = after
            return
        self._refuse()

    def accept(self) -> None:
        """Accept connections again."""
        if not self._is_listening:
            self._is_listening = True
            self._listener.server_activate()
            loop = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
            loop.start()

    def _refuse(self, *, but: socket.socket | None = None) -> None:
        """Refuse connections, and drop all but one, whose call is still to be answered.

        A client that waits for an answer while this happens would see a reset instead of a refusal; so nobody may wait
        but the caller of the one connection, and clients need patience (`network.ANSWER_SECONDS`).
        """
        self._stop_listening(but=but)
        # Bound, but not listening: the system refuses who connects, and gives the port to no other program.
        self._listener = self._bind(self.port)

    def script(self, *scenes: Mapping[str, Any]) -> None:
        """What `GetRun` finds, one scene for each time; the last stays. See `State.show`."""
        self.state.scenes = list(scenes)

    def _bind(self, port: int) -> ThreadingHTTPServer:
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 600
            disable_nagle_algorithm = True
            wbufsize = -1  # headers and body in one packet

            def setup(self) -> None:
                super().setup()
                played._open.add(self.connection)

            def finish(self) -> None:
                played._open.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:
                played._serve(self)

            do_POST = do_GET  # noqa: N815
            do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass  # a client that went away

        listener = Listener(("127.0.0.1", port), Handler, bind_and_activate=False)
        listener.server_bind()
        if self._encryption:
            listener.socket = self._encryption.wrap_socket(listener.socket, server_side=True)
        return listener

    def _stop_listening(self, *, but: socket.socket | None = None) -> None:
        if self._is_listening:
            self._is_listening = False
            self._listener.shutdown()
        self._listener.server_close()
        for connection in self._open - {but}:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        call = Call(handler.command, handler.path, headers, handler.rfile.read(length))
        with self._lock:
            self.requests.append(call)
            name, arguments = self._route(call)
            fault = self._take_fault(name)
            reply = self.door.answer(call)
            if name and not reply:
                self.calls.append(name)
                reply = self._answer(name, call, arguments, fault)
                if name in self._faults_after:
                    later, self._faults[later] = self._faults_after.pop(name)
            if name and self._refuse_after == name:
                self._refuse_after = ""
                self._refuse(but=handler.connection)
                handler.close_connection = True
        if fault and fault.kind in SILENT:
            self._keep_silent(handler)
        else:
            _send(handler, reply or self._answer_page(call), fault)

    def _keep_silent(self, handler: BaseHTTPRequestHandler) -> None:
        UNANSWERED.add(handler.client_address)
        self.on_silence()
        self._closing.wait(LONGEST_SILENCE_SECONDS)
        UNANSWERED.discard(handler.client_address)
        _cut(handler, b"")

    def _route(self, call: Call) -> tuple[str, tuple[str, ...]]:
        if not call.path.startswith(f"{self._path}/"):
            return "", ()
        asked = f"{call.method} {call.path.removeprefix(self._path)}"
        for name, pattern in ROUTES.items():
            if match := re.fullmatch(pattern, asked):
                return name, match.groups()
        return "", ()

    def _answer_page(self, call: Call) -> Reply:
        if call.path.startswith(f"{self._path}/apis/"):
            return spell(404, {"code": 5, "message": "Not Found", "details": []})
        if call.path.startswith("/apis/"):
            return Reply(404, b"404 page not found", {"Content-Type": "text/plain"})
        # As the dashboard of a whole Kubeflow does for any address.
        return page(200, "Kubeflow Central Dashboard")

    def _take_fault(self, name: str) -> Fault | None:
        fault = self._faults.get(name)
        if not fault or fault.times == 0:
            return None
        fault.times -= 1
        return fault

    def _answer(self, name: str, call: Call, arguments: tuple[str, ...], fault: Fault | None) -> Reply:
        if fault and fault.kind in (*ANSWERS, "page", "elsewhere", "moved", "timeout", "cut", ANOTHER):
            return _answer_fault(fault)
        try:
            content = json.loads(call.body) if call.body else None
            return spell(200, self.state.take(name, arguments, call.query, content))
        except Refusal as refusal:
            return _spell_refusal(refusal.status, str(refusal))
        except json.JSONDecodeError as error:
            return _spell_refusal(400, f"invalid JSON: {error}")
        except Exception:
            # A mistake in the played server must not pass for a fault of the network.
            return _spell_refusal(501, f"the played server broke: {traceback.format_exc()}")


def _spell_refusal(status: int, words: str) -> Reply:
    return spell(status, {"error": words, "code": GRPC.get(status, 2), "message": words, "details": []})


def _answer_fault(fault: Fault) -> Reply:
    if fault.kind == "page":
        return page(200, "Sign in to your account <form></form>")
    if fault.kind == "elsewhere":
        return Reply(302, b"", {"Location": "http://localhost:9/login"})
    if fault.kind == "moved":
        return Reply(301, b"", {"Location": "https://kubeflow.example.com/pipeline/apis?x=y"})
    if fault.kind not in ANSWERS:
        return Reply(200, fault.body or b"", {"Content-Type": "application/json"})
    status = int(fault.kind)
    reply = _spell_refusal(status, ANSWERS[fault.kind])
    if status in (502, 503, 504):  # of a proxy before the server
        reply = Reply(status, ANSWERS[fault.kind].encode(), {"Content-Type": "text/plain"})
    more = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return Reply(status, reply.body if fault.body is None else fault.body, {**reply.headers, **more})


def _send(handler: BaseHTTPRequestHandler, reply: Reply, fault: Fault | None) -> None:
    kind = fault.kind if fault else ""
    if kind == "cut":
        _cut(handler, b"")
        return
    if kind in ("cut-headers", "cut-body"):
        head = f"HTTP/1.1 {reply.status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply.body)}"
        rest = b"\r\n\r\n" + reply.body[: len(reply.body) // 2] if kind == "cut-body" else b""
        _cut(handler, head.encode() + rest)
        return
    handler.send_response(reply.status)
    for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
        handler.send_header(name, value)
    if handler.close_connection:
        handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(reply.body)


def _cut(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send some bytes, and then nothing but the end of the connection."""
    handler.close_connection = True
    if content:
        handler.wfile.write(content)
        handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    handler.connection.close()
