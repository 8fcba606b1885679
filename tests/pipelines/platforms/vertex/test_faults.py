"""Every fault at every call to Vertex AI: what comes of it, for the caller and on the server."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pipelines.compilation import Job
from pipelines.platforms import retrying
from pipelines.platforms.base import (
    ConflictError,
    DeniedError,
    Mark,
    MissingError,
    PlatformClient,
    PlatformError,
    SignInError,
    TransientError,
)
from pipelines.platforms.vertex import connection
from pipelines.profiles import Schedule
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.vertex.clients import connect, connect_anew

NAME = "test"
States = tuple[list[str], list[str]]


@dataclass
class Setup:
    """A client, the server that it calls, and what it sends."""

    server: VertexServer
    client: PlatformClient
    job: Job

    def submit(self) -> str:
        return self.client.submit(self.job, name=NAME)

    def create(self, *, paused: bool = False) -> str:
        schedule = Schedule(name=NAME, cron="0 6 * * 1", paused=paused)
        return self.client.create_schedule(schedule, self.job, Mark("cloud", NAME, "abc")).id

    def check(self, expected: States) -> None:
        """Check the states of the server's runs and schedules."""
        # Running or not is all that is known of a run: each read takes it one state further.
        runs = [job.state.name.endswith(("CANCELLING", "CANCELLED")) for job in self.server.jobs.values()]
        schedules = [one.state.name for one in self.server.schedules.values()]
        assert (["ending" if ends else "going" for ends in runs], schedules) == expected


@dataclass(frozen=True)
class Operation:
    """What a caller may ask for, and what it sends.

    Attributes:
        prepare: Makes what it works on, without faults, and returns its id.
        act: Asks for it.
        calls: The methods that it calls, in their order.
        before, after: The states of runs and schedules.
        changes: Those of the calls that change something.
    """

    prepare: Callable[[Setup], str]
    act: Callable[[Setup, str], object]
    calls: tuple[str, ...]
    before: States = ([], [])
    after: States = ([], [])
    changes: tuple[str, ...] = ()


GOING, ENDING, ACTIVE, PAUSED = ["going"], ["ending"], ["ACTIVE"], ["PAUSED"]
OPERATIONS = {
    "submit": Operation(
        lambda setup: "", lambda setup, _: setup.submit(), ("CreatePipelineJob",), ([], []), (GOING, []),
        ("CreatePipelineJob",),
    ),
    "read": Operation(
        Setup.submit, lambda setup, id: setup.client.read_run(id), ("GetPipelineJob",), (GOING, []), (GOING, [])
    ),
    "artifacts": Operation(
        Setup.submit, lambda setup, id: setup.client.find_artifacts(id), ("GetPipelineJob",), (GOING, []), (GOING, [])
    ),
    "cancel": Operation(
        Setup.submit, lambda setup, id: setup.client.cancel(id), ("CancelPipelineJob",), (GOING, []), (ENDING, []),
        ("CancelPipelineJob",),
    ),
    "list": Operation(
        Setup.create, lambda setup, _: setup.client.list_schedules(), ("ListSchedules",), ([], ACTIVE), ([], ACTIVE)
    ),
    "create": Operation(
        lambda setup: "", lambda setup, _: setup.create(), ("CreateSchedule",), ([], []), ([], ACTIVE),
        ("CreateSchedule",),
    ),
    "create-paused": Operation(
        lambda setup: "", lambda setup, _: setup.create(paused=True),
        ("CreateSchedule", "PauseSchedule", "GetSchedule"), ([], []), ([], PAUSED),
        ("CreateSchedule", "PauseSchedule"),
    ),
    "pause": Operation(
        Setup.create, lambda setup, id: setup.client.pause_schedule(id), ("PauseSchedule",), ([], ACTIVE),
        ([], PAUSED), ("PauseSchedule",),
    ),
    "resume": Operation(
        lambda setup: setup.create(paused=True), lambda setup, id: setup.client.resume_schedule(id),
        ("ResumeSchedule",), ([], PAUSED), ([], ACTIVE), ("ResumeSchedule",),
    ),
    "delete": Operation(
        Setup.create, lambda setup, id: setup.client.delete_schedule(id), ("DeleteSchedule", "GetOperation"),
        ([], ACTIVE), ([], []), ("DeleteSchedule", "GetOperation"),
    ),
    "run-now": Operation(
        Setup.create, lambda setup, id: setup.client.run_schedule(id, name=NAME), ("GetSchedule", "CreatePipelineJob"),
        ([], ACTIVE), (GOING, ACTIVE), ("CreatePipelineJob",),
    ),
}  # fmt: skip
CALLS = [(name, method) for name, operation in OPERATIONS.items() for method in operation.calls]
CHANGES = [(name, method) for name, operation in OPERATIONS.items() for method in operation.changes]
TRANSIENT = ("quota", "internal", "unavailable", "late", "cut")
LOSING = ("internal", "unavailable", "late", "cut")
REFUSALS = {
    "invalid": (PlatformError, "it answered 400 INVALID_ARGUMENT (List of found errors"),
    "unauthenticated": (SignInError, "Sign in again: gcloud auth application-default login"),
    "denied": (
        DeniedError,
        "Ask the project's owner for aiplatform.pipelineJobs.create: gcloud",
    ),
    "missing": (MissingError, "it answered 404 NOT_FOUND (The resource is not found.). Check the name, and project"),
    "exists": (ConflictError, "it answered 409 ALREADY_EXISTS"),
}
LASTING = {
    "quota": "https://console.cloud.google.com/iam-admin/quotas?project=my-project",
    "internal": "it answered 500 INTERNAL (Internal error encountered.). Try later: https://status.cloud.google.com",
    "unavailable": "it answered 503 UNAVAILABLE (The service is currently unavailable.). Check the network, or try",
    "late": "no answer within the time limit. Check the network.",
    "cut": "it answered 503 UNAVAILABLE (",
}


@pytest.fixture
def setup(server: VertexServer, job: Job) -> Setup:
    return Setup(server, connect(server), job)


def lose_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after the first tries, from now on."""
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.03)


@pytest.mark.parametrize("kind", TRANSIENT)
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_a_transient_fault_is_got_over(setup: Setup, name: str, method: str, kind: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    setup.check(operation.before)
    setup.server.fail(method, kind)
    operation.act(setup, id)
    setup.check(operation.after)


@pytest.mark.parametrize("kind", LOSING)
@pytest.mark.parametrize(("name", "method"), CHANGES)
def test_what_was_done_is_not_done_again_when_the_answer_is_lost(
    setup: Setup, name: str, method: str, kind: str
) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    setup.server.fail(method, kind, carried_out=True)
    operation.act(setup, id)
    setup.check(operation.after)


@pytest.mark.parametrize("carried_out", [False, True], ids=["not-done", "done"])
@pytest.mark.parametrize(("name", "method"), [(name, OPERATIONS[name].calls[0]) for name in ("submit", "create")])
def test_a_call_that_is_never_answered_is_given_up_and_made_once(
    setup: Setup, name: str, method: str, carried_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)
    # The later calls are answered, however slow this machine is.
    monkeypatch.setattr(setup.server, "on_silence", lambda: monkeypatch.setattr(connection, "REQUEST_SECONDS", 60.0))
    setup.server.fail(method, "timeout", carried_out=carried_out)
    OPERATIONS[name].act(setup, "")
    setup.check(OPERATIONS[name].after)


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_a_refusal_is_explained_and_changes_nothing(setup: Setup, name: str, method: str, kind: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    setup.server.fail(method, kind, times=None)
    error, words = REFUSALS[kind]
    if name == "delete" and kind == "missing":
        operation.act(setup, id)  # it is gone already, which is what was asked for
        return
    with pytest.raises(PlatformError) as refused:
        operation.act(setup, id)
    assert type(refused.value) is error
    assert words in str(refused.value)
    assert not refused.value.may_have_happened
    setup.check(find_state_between(operation, method))


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_a_lasting_fault_is_explained_and_changes_nothing(
    setup: Setup, name: str, method: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    lose_patience(monkeypatch)
    setup.server.fail(method, kind, times=None)
    with pytest.raises(TransientError) as refused:
        operation.act(setup, id)
    assert LASTING[kind] in str(refused.value)
    assert refused.value.may_have_happened is (kind in LOSING)
    setup.check(find_state_between(operation, method))


def find_state_between(operation: Operation, method: str) -> States:
    """The state when a call failed for good: as before, but for a schedule that was made and paused before it."""
    return operation.after if method == operation.calls[-1] and len(operation.calls) == 3 else operation.before


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_refused_connection_is_tried_again(setup: Setup, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    # A client without a connection: a request on one that has just ended may have arrived.
    setup.client = connect_anew(setup.server)
    setup.server.network.refuse()
    troubles: list[Exception] = []
    monkeypatch.setattr(retrying, "on_trouble", lambda error: (troubles.append(error), setup.server.network.accept()))
    operation.act(setup, id)
    assert troubles
    setup.check(operation.after)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_connection_that_stays_refused_is_explained(setup: Setup, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    setup.client = connect_anew(setup.server)
    lose_patience(monkeypatch)
    setup.server.network.refuse()
    with pytest.raises(TransientError, match=r"no connection .*Check the network") as refused:
        operation.act(setup, id)
    assert not refused.value.may_have_happened
    setup.check(operation.before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_connection_cut_in_the_middle_of_a_request_is_got_over(setup: Setup, name: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    setup.client.list_schedules()  # so that there is a connection
    setup.server.network.cut_request()
    operation.act(setup, id)
    setup.check(operation.after)


@pytest.mark.parametrize("name", ["submit", "read", "create", "run-now"])
def test_a_connection_that_died_unnoticed_is_replaced(setup: Setup, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "QUIET_MILLISECONDS", 200)
    monkeypatch.setattr(connection, "PING_MILLISECONDS", 1000)
    setup.client = connect_anew(setup.server)
    operation = OPERATIONS[name]
    id = operation.prepare(setup)
    setup.client.list_schedules()  # so that there is a connection
    setup.server.network.freeze()
    operation.act(setup, id)
    setup.check(operation.after)


@pytest.mark.parametrize(
    ("name", "make", "look"),
    [("submit", "CreatePipelineJob", "GetPipelineJob"), ("create", "CreateSchedule", "ListSchedules")],
)
def test_a_create_that_cannot_be_looked_for_says_that_nobody_knows_what_came_of_it(
    setup: Setup, name: str, make: str, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_patience(monkeypatch)
    setup.server.fail(make, "cut", carried_out=True)
    setup.server.fail(look, "unavailable", times=None)
    with pytest.raises(PlatformError, match="may not have been created: the search for it failed too") as refused:
        OPERATIONS[name].act(setup, "")
    assert refused.value.may_have_happened
    setup.check(OPERATIONS[name].after)


def test_the_token_is_never_repeated(setup: Setup) -> None:
    setup.client = connect_anew(setup.server)
    id = setup.submit()
    token = setup.server.sign_in.given[-1]
    setup.server.fail("GetPipelineJob", "invalid", words=f"The header authorization: Bearer {token} is not taken.")
    with pytest.raises(PlatformError) as refused:
        setup.client.read_run(id)
    assert "The header authorization: Bearer ... is not taken." in str(refused.value)
    assert token not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
