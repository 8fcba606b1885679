"""Every trouble at every call to Vertex AI: what comes of it, for the caller and on the server."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
from tests.fakes.vertex.server import VertexServer, shorten_waits
from tests.pipelines.platforms.vertex.test_platform import connect, make_job

NUMBERS = itertools.count(1)
ANSWER_SECONDS = 0.2  # after which a call that is not answered counts as lost
BACK_SECONDS = 0.1  # after which a server that refused connections takes them again


@dataclass
class Place:
    """A client and the server that it talks to, for all tests of this file.

    Attributes:
        name: Of what the test makes; its own.
    """

    server: VertexServer
    platform: PlatformClient
    job: Job
    name: str = ""

    def run(self) -> str:
        self.platform.submit(self.job, name=self.name)
        return self.name

    def schedule(self, *, paused: bool = False) -> str:
        schedule = Schedule(name=self.name, cron="0 6 * * 1", paused=paused)
        return self.platform.create_schedule(schedule, self.job, Mark("cloud", self.name, "abc")).id

    def find_runs(self) -> list[str]:
        """The runs of this test, by what is to become of them: each look at a run takes it further."""
        states = [job.state.name for id, job in self.server.jobs.items() if id.startswith(self.name)]
        return ["ending" if state.endswith(("CANCELLING", "CANCELLED")) else "going" for state in states]

    def find_schedules(self) -> list[str]:
        """The states of the schedules of this test."""
        return [one.state.name for one in self.server.schedules.values() if one.display_name.endswith(f"-{self.name}")]

    def run_it(self, id: str) -> str:
        return self.platform.run_schedule(id, name=self.name)


@dataclass(frozen=True)
class Operation:
    """What a caller may ask for, and what it sends.

    Attributes:
        prepare: Makes what it works on, without troubles, and returns its id.
        act: Asks for it.
        calls: The methods that it calls, in their order.
        before, after: The states of the runs and schedules of the test.
        changes: Those of the calls after which something is different.
    """

    prepare: Callable[[Place], str]
    act: Callable[[Place, str], object]
    calls: tuple[str, ...]
    before: tuple[list[str], list[str]] = ([], [])
    after: tuple[list[str], list[str]] = ([], [])
    changes: tuple[str, ...] = ()


def nothing(_: Place) -> str:
    return ""


GOING, ENDING, ACTIVE, PAUSED = ["going"], ["ending"], ["ACTIVE"], ["PAUSED"]
OPERATIONS = {
    "submit": Operation(
        nothing, lambda place, _: place.run(), ("CreatePipelineJob",), after=(GOING, []),
        changes=("CreatePipelineJob",),
    ),
    "read": Operation(
        Place.run, lambda place, id: place.platform.read_run(id), ("GetPipelineJob",), (GOING, []), (GOING, [])
    ),
    "artifacts": Operation(
        Place.run, lambda place, id: place.platform.find_artifacts(id), ("GetPipelineJob",), (GOING, []),
        (GOING, []),
    ),
    "cancel": Operation(
        Place.run, lambda place, id: place.platform.cancel(id), ("CancelPipelineJob",), (GOING, []),
        (ENDING, []), ("CancelPipelineJob",),
    ),
    "list": Operation(
        Place.schedule, lambda place, _: place.platform.list_schedules(), ("ListSchedules",), ([], ACTIVE),
        ([], ACTIVE),
    ),
    "create": Operation(
        nothing, lambda place, _: place.schedule(), ("CreateSchedule",), after=([], ACTIVE),
        changes=("CreateSchedule",),
    ),
    "create-paused": Operation(
        nothing, lambda place, _: place.schedule(paused=True), ("CreateSchedule", "PauseSchedule", "GetSchedule"),
        after=([], PAUSED), changes=("CreateSchedule", "PauseSchedule"),
    ),
    "pause": Operation(
        Place.schedule, lambda place, id: place.platform.pause_schedule(id), ("PauseSchedule",), ([], ACTIVE),
        ([], PAUSED), ("PauseSchedule",),
    ),
    "resume": Operation(
        lambda place: place.schedule(paused=True), lambda place, id: place.platform.resume_schedule(id),
        ("ResumeSchedule",), ([], PAUSED), ([], ACTIVE), ("ResumeSchedule",),
    ),
    "delete": Operation(
        Place.schedule, lambda place, id: place.platform.delete_schedule(id), ("DeleteSchedule", "GetOperation"),
        ([], ACTIVE), ([], []), ("DeleteSchedule", "GetOperation"),
    ),
    "run-now": Operation(
        Place.schedule, Place.run_it, ("GetSchedule", "CreatePipelineJob"), ([], ACTIVE), (GOING, ACTIVE),
        ("CreatePipelineJob",),
    ),
}  # fmt: skip
CALLS = [(name, method) for name, operation in OPERATIONS.items() for method in operation.calls]
CHANGES = [(name, method) for name, operation in OPERATIONS.items() for method in operation.changes]
PASSING = ("quota", "internal", "unavailable", "timeout", "cut")
LOSING = ("internal", "unavailable", "timeout", "cut")
REFUSALS = {
    "invalid": (PlatformError, "it answered 400 INVALID_ARGUMENT (List of found errors"),
    "unauthenticated": (SignInError, "Sign in again: gcloud auth application-default login"),
    "denied": (
        DeniedError,
        "Missing is the permission aiplatform.pipelineJobs.create. Ask the project's owner: gcloud",
    ),
    "missing": (MissingError, "it answered 404 NOT_FOUND (The resource is not found.). Check the name, and project"),
    "exists": (ConflictError, "it answered 409 ALREADY_EXISTS"),
}
LASTING = {
    "quota": "https://console.cloud.google.com/iam-admin/quotas?project=my-project",
    "internal": "it answered 500 INTERNAL (Internal error encountered.). Try later: https://status.cloud.google.com",
    "unavailable": "it answered 503 UNAVAILABLE (The service is currently unavailable.). Check the network, or try",
    "timeout": "no answer came in time. Check the network.",
    "cut": "it answered 503 UNAVAILABLE (",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("vertex")
    with pytest.MonkeyPatch.context() as patch, VertexServer(folder) as server:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        shorten_waits(patch)
        patch.setattr(connection, "REQUEST_SECONDS", ANSWER_SECONDS)
        yield Place(server, connect(server), make_job())


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    shared.name = f"test-{next(NUMBERS)}-"
    shared.name += "x"  # so that no name begins with another
    yield shared
    shared.server.heal()


def lose_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, from now on."""
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.05)


def check(place: Place, expected: tuple[list[str], list[str]]) -> None:
    assert (place.find_runs(), place.find_schedules()) == expected


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_a_trouble_that_passes_is_got_over(place: Place, name: str, method: str, kind: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    check(place, operation.before)
    place.server.fail(method, kind)
    operation.act(place, id)
    check(place, operation.after)


@pytest.mark.parametrize("kind", LOSING)
@pytest.mark.parametrize(("name", "method"), CHANGES)
def test_what_was_done_is_not_done_again_when_the_answer_is_lost(
    place: Place, name: str, method: str, kind: str
) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    place.server.fail(method, kind, carried_out=True)
    operation.act(place, id)
    check(place, operation.after)


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_a_refusal_is_told_and_changes_nothing(place: Place, name: str, method: str, kind: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    place.server.fail(method, kind, times=None)
    error, words = REFUSALS[kind]
    if name == "delete" and kind == "missing":
        operation.act(place, id)  # gone already is no trouble
        return
    with pytest.raises(PlatformError) as refused:
        operation.act(place, id)
    assert type(refused.value) is error
    assert words in str(refused.value)
    assert not refused.value.may_have_happened
    check(place, find_state_between(operation, method))


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_a_trouble_that_lasts_is_told_and_changes_nothing(
    place: Place, name: str, method: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    lose_patience(monkeypatch)
    place.server.fail(method, kind, times=None)
    with pytest.raises(TransientError) as refused:
        operation.act(place, id)
    assert LASTING[kind] in str(refused.value)
    assert refused.value.may_have_happened is (kind in LOSING)
    check(place, find_state_between(operation, method))


def find_state_between(operation: Operation, method: str) -> tuple[list[str], list[str]]:
    """What stands when a call failed for good: as before, but for a schedule that was made and paused before it."""
    return operation.after if method == operation.calls[-1] and len(operation.calls) == 3 else operation.before


def forget_connection(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a client that has no connection yet: a request on one that has just ended may have arrived."""
    monkeypatch.setattr(place, "platform", connect(place.server))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_refused_connection_is_tried_again(place: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    forget_connection(place, monkeypatch)
    place.server.network.refuse()
    back = threading.Timer(BACK_SECONDS, place.server.network.accept)
    back.start()
    operation.act(place, id)
    back.join()
    check(place, operation.after)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_connection_that_stays_refused_is_told(place: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    forget_connection(place, monkeypatch)
    lose_patience(monkeypatch)
    place.server.network.refuse()
    with pytest.raises(TransientError, match=r"no connection .*Check the network") as refused:
        operation.act(place, id)
    assert not refused.value.may_have_happened
    check(place, operation.before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_connection_cut_in_the_middle_of_a_request_is_got_over(place: Place, name: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    place.platform.list_schedules()  # so that a connection stands
    place.server.network.cut_request()
    operation.act(place, id)
    check(place, operation.after)


@pytest.mark.parametrize("name", ["submit", "read", "create", "run-now"])
def test_a_connection_that_died_unseen_is_replaced(place: Place, name: str) -> None:
    operation = OPERATIONS[name]
    id = operation.prepare(place)
    place.server.network.freeze()
    operation.act(place, id)
    check(place, operation.after)


@pytest.mark.parametrize(
    ("name", "make", "look"),
    [("submit", "CreatePipelineJob", "GetPipelineJob"), ("create", "CreateSchedule", "ListSchedules")],
)
def test_nobody_knows_what_came_of_a_create_that_cannot_be_looked_for(
    place: Place, name: str, make: str, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_patience(monkeypatch)
    place.server.fail(make, "cut", carried_out=True)
    place.server.fail(look, "unavailable", times=None)
    with pytest.raises(PlatformError, match="Nobody knows whether it was made: looking for it failed too") as refused:
        OPERATIONS[name].act(place, "")
    assert refused.value.may_have_happened
    check(place, OPERATIONS[name].after)


def test_the_token_is_never_repeated(place: Place) -> None:
    place.platform = connect(place.server)
    id = place.run()
    token = place.server.sign_in.given[-1]
    place.server.fail("GetPipelineJob", "invalid", words=f"The header authorization: Bearer {token} is not taken.")
    with pytest.raises(PlatformError) as refused:
        place.platform.read_run(id)
    assert "The header authorization: Bearer ... is not taken." in str(refused.value)
    assert token not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
