"""A played Vertex AI on this machine: the real protocol over TLS, its state, and faults at any call.

    with VertexServer(tmp_path) as server:
        os.environ.update(server.environment)  # for this process or another: trust it and sign in
        profile = VertexProfile(endpoint=server.endpoint, project="my-project", region="europe-west4", ...)
        server.play(fail_at("train", "out of memory"))
        server.fail("CreatePipelineJob", "cut", carried_out=True)

Its state is read from `server.jobs`, `server.schedules` and `server.contexts`.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import grpc
import pytest
from google.cloud.aiplatform_v1 import types
from google.longrunning import operations_pb2
from google.protobuf import message

from pipelines.platforms import retrying
from pipelines.platforms.vertex import client, connection, experiments
from tests.fakes.google.accounts import SignIn, identity
from tests.fakes.vertex.checks import Refusal, check_known
from tests.fakes.vertex.faults import ANSWERS, Fault, answer_with
from tests.fakes.vertex.location import Location
from tests.fakes.vertex.metadata import Contexts
from tests.fakes.vertex.proxy import Proxy
from tests.fakes.vertex.runs import Runs, Scene
from tests.fakes.vertex.schedules import Schedules

PIPELINE_SERVICE = "google.cloud.aiplatform.v1.PipelineService"
SCHEDULE_SERVICE = "google.cloud.aiplatform.v1.ScheduleService"
METADATA_SERVICE = "google.cloud.aiplatform.v1.MetadataService"
OPERATION_SERVICE = "google.longrunning.Operations"
THREADS = 32
LONGEST_SILENCE_SECONDS = 600.0  # only against hanging: clients end their calls, and tests the server
CLOSED = "http://127.0.0.1:9"  # nobody listens there


class VertexServer:
    """A running server; as a context manager it is closed at the end.

    Attributes:
        jobs, schedules, contexts: By their ids.
        uris: Addresses of outputs outside the pipeline root, by task and output.
        now: Its clock.
        sign_in: Google's sign-in server beside it.
        network: Between the client and the server.
        endpoint: For a profile: "localhost:PORT".
        on_silence: Called when a call will get no answer.
        environment: What makes Google's clients, here or in another process, trust the server and sign in.
    """

    def __init__(self, folder: Path) -> None:
        self.on_silence: Callable[[], object] = lambda: None
        self.reset()
        self.sign_in = SignIn()
        self._lock = threading.RLock()
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        )
        self._server.add_generic_rpc_handlers(self._handlers())
        credentials = grpc.ssl_server_credentials([(identity().key, identity().certificate)])
        self.network = Proxy(self._server.add_secure_port("127.0.0.1:0", credentials))
        self._server.start()
        self.endpoint = f"localhost:{self.network.port}"
        self.environment = self._write_environment(folder)

    def reset(self) -> None:
        """Forget all runs, schedules and experiments, and every fault of a method."""
        location = Location()
        contexts = Contexts(location)
        self.now = location.now
        self._runs = Runs(location, contexts)
        self._schedules = Schedules(location, self._runs)
        self.jobs, self.uris = self._runs.jobs, self._runs.uris
        self.schedules, self.contexts = self._schedules.by_id, contexts.by_id
        self._faults: dict[str, Fault] = {}
        self._methods: dict[str, tuple[str, Any, Callable[[Any], Any]]] = {
            "CreatePipelineJob": (PIPELINE_SERVICE, types.CreatePipelineJobRequest, self._runs.create),
            "GetPipelineJob": (PIPELINE_SERVICE, types.GetPipelineJobRequest, self._runs.get),
            "ListPipelineJobs": (PIPELINE_SERVICE, types.ListPipelineJobsRequest, self._runs.list_jobs),
            "CancelPipelineJob": (PIPELINE_SERVICE, types.CancelPipelineJobRequest, self._runs.cancel),
            "CreateSchedule": (SCHEDULE_SERVICE, types.CreateScheduleRequest, self._schedules.create),
            "GetSchedule": (SCHEDULE_SERVICE, types.GetScheduleRequest, self._schedules.get),
            "ListSchedules": (SCHEDULE_SERVICE, types.ListSchedulesRequest, self._schedules.list),
            "PauseSchedule": (SCHEDULE_SERVICE, types.PauseScheduleRequest, self._schedules.pause),
            "ResumeSchedule": (SCHEDULE_SERVICE, types.ResumeScheduleRequest, self._schedules.resume),
            "DeleteSchedule": (SCHEDULE_SERVICE, types.DeleteScheduleRequest, self._schedules.delete),
            "GetOperation": (OPERATION_SERVICE, operations_pb2.GetOperationRequest, self._schedules.get_operation),
            "GetContext": (METADATA_SERVICE, types.GetContextRequest, contexts.get),
            "CreateContext": (METADATA_SERVICE, types.CreateContextRequest, contexts.create),
            "AddContextChildren": (METADATA_SERVICE, types.AddContextChildrenRequest, contexts.add_children),
        }

    def __enter__(self) -> "VertexServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it."""
        self.network.close()
        self._server.stop(grace=0).wait()
        self.sign_in.close()

    def fail(
        self,
        method: str,
        kind: str,
        *,
        times: int | None = 1,
        carried_out: bool = False,
        words: str | None = None,
    ) -> None:
        """Make the next calls of a method go wrong; see Fault."""
        if kind not in (*ANSWERS, "timeout", "cut"):
            raise ValueError(f"{kind}: no such fault")
        if method not in self._methods:
            raise ValueError(f"{method}: no such method")
        self._faults[method] = Fault(kind, times, carried_out, words)

    def play(self, scenes: Sequence[Scene]) -> None:
        """Set the scenes of runs that start from now on: each read of a run shows the next, and then the last again."""
        self._runs.script = list(scenes)

    def limit_pages(self, size: int) -> None:
        """List this many schedules in a page at most."""
        self._schedules.page_size = size

    def spoil_deletions(self, words: str) -> None:
        """Make deleting a schedule fail for this reason; without a reason it never ends."""
        self._schedules.deletion = words

    def pass_time(self, passed: timedelta) -> None:
        """Put the clock forward; schedules fire at every time on the way."""
        with self._lock:
            self._schedules.pass_time(passed)

    def heal(self) -> None:
        """Make nothing go wrong any more."""
        self._faults.clear()
        self.network.accept()

    def _write_environment(self, folder: Path) -> dict[str, str]:
        self.sign_in.write_key(folder / "service-account.json")
        # The same for the whole process, since gRPC reads it only once.
        (folder / "roots.pem").write_bytes(identity().certificate)
        here = "localhost,127.0.0.1"
        return {
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(folder / "roots.pem"),
            "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "service-account.json"),
            "NO_GCE_CHECK": "true",
            "no_grpc_proxy": here,
            # Google's library asks another of its servers about each service account; nothing leaves this machine.
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), CLOSED),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), here),
        }

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for name, (service, request_type, _) in self._methods.items():
            services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
                self._handler(name),
                request_deserializer=getattr(request_type, "deserialize", getattr(request_type, "FromString", None)),
                response_serializer=lambda content: _pb(content).SerializeToString(),
            )
        return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())

    def _handler(self, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self._check_token(context)
                fault = self._take_fault(name)
                if fault and not fault.carried_out:
                    self._strike(fault, context)
                check_known(_pb(request))
                with self._lock:
                    given = self._methods[name][2](request)
                    content = type(_pb(given)).FromString(_pb(given).SerializeToString())
                if fault:
                    self._strike(fault, context)
                return content
            except Refusal as refusal:
                answer_with(refusal, context)

        return handle

    def _check_token(self, context: grpc.ServicerContext) -> None:
        headers = dict(context.invocation_metadata())
        token = str(headers.get("authorization", "")).removeprefix("Bearer ")
        if not self.sign_in.knows(token):
            raise ANSWERS["unauthenticated"]

    def _take_fault(self, method: str) -> Fault | None:
        with self._lock:
            fault = self._faults.get(method)
            if fault and fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    del self._faults[method]
            return fault

    def _strike(self, fault: Fault, context: grpc.ServicerContext) -> NoReturn:
        if fault.kind == "cut":
            self.network.cut()
        if fault.kind in ("cut", "timeout"):
            self.on_silence()
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait(LONGEST_SILENCE_SECONDS)
            raise Refusal(grpc.StatusCode.CANCELLED, "Nobody listens any more.")
        usual = ANSWERS[fault.kind]
        raise Refusal(usual.code, fault.words or usual.words, usual.reason, usual.metadata)


def _pb(content: Any) -> message.Message:
    return content if isinstance(content, message.Message) else type(content).pb(content)


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make clients wait for milliseconds between tries, instead of seconds."""
    monkeypatch.setattr(retrying, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(retrying, "LONGEST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 60.0)  # however slow the machine is
    monkeypatch.setattr(retrying, "LOOK_SECONDS", (0.0, 0.01, 0.02))
    monkeypatch.setattr(connection, "RECONNECT_MILLISECONDS", 100)  # gRPC takes no less
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(experiments, "POLL_SECONDS", 0.01)
