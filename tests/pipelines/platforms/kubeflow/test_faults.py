"""Every fault at every call to a played Kubeflow Pipelines; what counts is what stands on the server afterwards."""

import contextlib
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.platforms import retrying
from pipelines.platforms.base import (
    ConflictError,
    DeniedError,
    Mark,
    MissingError,
    PlatformClient,
    PlatformError,
    SignInError,
    State,
    TransientError,
)
from pipelines.platforms.kubeflow import client, errors
from pipelines.profiles import Schedule
from tests.fakes.kubeflow.jobs import new_job, new_profile
from tests.fakes.kubeflow.server import FAULTS, KubeflowServer
from tests.fakes.kubeflow.state import HALF, SUCCESS

SCHEDULE = Schedule(name="nightly", cron="0 6 * * 1")
MARK = Mark("cluster", "nightly", "0123456789abcdef")
# What one fault ends at once; all others pass when they are met once.
FINAL: dict[str, type[PlatformError]] = {
    "400": PlatformError,
    "401": SignInError,
    "403": DeniedError,
    "404": MissingError,
    "409": ConflictError,
    "page": SignInError,
    "elsewhere": SignInError,
    "moved": PlatformError,
}
PASSING = [kind for kind in FAULTS if kind not in FINAL]
LOST = ("cut-headers", "cut-body", "lost")  # carried out, but nobody heard


@pytest.fixture
def platform(kubeflow_server: KubeflowServer) -> PlatformClient:
    return client.Kubeflow(new_profile(kubeflow_server))


class Place:
    """A server with a platform, and what stood there before."""

    def __init__(self, server: KubeflowServer, platform: PlatformClient) -> None:
        self.server = server
        self.platform = platform
        self.run_id = ""
        self.schedule_id = ""

    def with_run(self) -> None:
        self.run_id = self.platform.submit(new_job(), name="before-1")
        self.server.script(HALF)

    def with_schedule(self) -> None:
        self.schedule_id = self.platform.create_schedule(SCHEDULE, new_job(), MARK).id

    @property
    def schedule(self) -> dict[str, Any]:
        return self.server.recurring_runs[self.schedule_id]


@dataclass(frozen=True)
class Case:
    """A call of the server within a method of the platform.

    Attributes:
        call: In which the fault happens.
        before: What stands already.
        act: The method.
        done: Whether the server shows that it was carried out, exactly once.
        creates: The call makes something.
        after: The call that comes before it, when it is not the first.
    """

    call: str
    before: Callable[[Place], None]
    act: Callable[[Place], object]
    done: Callable[[Place], bool]
    creates: bool = False
    after: str = ""


def submit(place: Place) -> object:
    return place.platform.submit(new_job(), name="mnist-training-1")


def has_one_run(place: Place) -> bool:
    return [run["display_name"] for run in place.server.runs.values()] == ["mnist-training-1"]


def create(place: Place) -> object:
    return place.platform.create_schedule(SCHEDULE, new_job(), MARK)


def has_one_schedule(place: Place) -> bool:
    return [each["display_name"] for each in place.server.recurring_runs.values()] == ["cluster-nightly"]


def nothing(place: Place) -> None:
    pass


def always(place: Place) -> bool:
    return True


CASES = {
    "submit-list-experiments": Case("ListExperiments", nothing, submit, has_one_run),
    "submit-create-experiment": Case(
        "CreateExperiment",
        nothing,
        submit,
        lambda place: has_one_run(place) and len(place.server.experiments) == 1,
        creates=True,
        after="ListExperiments",
    ),
    "submit-create-run": Case("CreateRun", nothing, submit, has_one_run, creates=True, after="CreateExperiment"),
    "read-run": Case(
        "GetRun",
        Place.with_run,
        lambda place: place.platform.read_run(place.run_id),
        always,
    ),
    "cancel": Case(
        "TerminateRun",
        Place.with_run,
        lambda place: place.platform.cancel(place.run_id),
        lambda place: place.server.runs[place.run_id]["state"] in ("CANCELING", "FAILED"),
        after="GetRun",
    ),
    "create-schedule": Case(
        "CreateRecurringRun", nothing, create, has_one_schedule, creates=True, after="CreateExperiment"
    ),
    "list-schedules": Case(
        "ListRecurringRuns", Place.with_schedule, lambda place: place.platform.list_schedules(), always
    ),
    "pause": Case(
        "DisableRecurringRun",
        Place.with_schedule,
        lambda place: place.platform.pause_schedule(place.schedule_id),
        lambda place: place.schedule["status"] == "DISABLED",
    ),
    "resume-read": Case(
        "GetRecurringRun",
        Place.with_schedule,
        lambda place: place.platform.resume_schedule(place.schedule_id),
        lambda place: place.schedule["status"] == "ENABLED",
    ),
    "resume": Case(
        "EnableRecurringRun",
        Place.with_schedule,
        lambda place: place.platform.resume_schedule(place.schedule_id),
        lambda place: place.schedule["status"] == "ENABLED",
        after="GetRecurringRun",
    ),
    "delete": Case(
        "DeleteRecurringRun",
        Place.with_schedule,
        lambda place: place.platform.delete_schedule(place.schedule_id),
        lambda place: place.server.recurring_runs == {},
    ),
    "run-now": Case(
        "CreateRun",
        Place.with_schedule,
        lambda place: place.platform.run_schedule(place.schedule_id, name="mnist-training-1"),
        has_one_run,
        creates=True,
        after="GetRecurringRun",
    ),
}
all_cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture
def place(kubeflow_server: KubeflowServer, platform: PlatformClient) -> Place:
    return Place(kubeflow_server, platform)


@all_cases
@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_passes_is_not_noticed(case: Case, kind: str, place: Place) -> None:
    case.before(place)
    place.server.fail(case.call, kind)
    case.act(place)
    assert case.done(place)


@all_cases
def test_connections_that_are_refused_for_a_while_are_not_noticed(case: Case, place: Place) -> None:
    case.before(place)
    place.server.refuse(0.05, after=case.after)
    case.act(place)
    assert case.done(place)


@all_cases
@pytest.mark.parametrize("kind", FINAL)
def test_a_refusal_is_final_and_leaves_everything_as_it_was(case: Case, kind: str, place: Place) -> None:
    case.before(place)
    place.server.fail(case.call, kind)
    if (case.call, kind) in (("DeleteRecurringRun", "404"), ("CreateExperiment", "409")):
        # Gone already is as good as deleted; and who finds it there looks for it, and then makes it.
        with contextlib.suppress(ConflictError):
            case.act(place)
        return
    with pytest.raises(FINAL[kind]) as caught:
        case.act(place)
    assert type(caught.value) is FINAL[kind]
    assert not caught.value.may_have_happened
    assert place.server.calls.count(case.call) == 1
    if case.creates:
        assert not case.done(place)


@all_cases
@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_stays_is_told_in_plain_words(
    case: Case, kind: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.05)
    case.before(place)
    place.server.fail(case.call, kind, times=1000)
    if kind in LOST and (case.creates or case.call == "TerminateRun"):
        case.act(place)  # what was made is found, and a run that is ending is seen
        assert case.done(place)
        return
    with pytest.raises(TransientError) as caught:
        case.act(place)
    is_open = case.creates and kind not in ("429",)
    assert caught.value.may_have_happened is is_open
    message = str(caught.value)
    assert re.match(rf"Kubeflow Pipelines at {place.server.host} could not [a-z]+ .*: .*\.", message), message
    assert not re.search(r"<|Traceback|HTTPConnectionPool|Max retries", message)


@all_cases
def test_a_host_that_stays_closed_is_told_and_nothing_is_made(
    case: Case, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.05)
    case.before(place)
    place.server.refuse(2.0, after=case.after)
    with pytest.raises(TransientError, match=r"no connection \(Connection refused\)\. Is it running") as caught:
        case.act(place)
    assert not caught.value.may_have_happened
    if case.creates:
        assert not case.done(place)


@pytest.mark.parametrize("kind", ["timeout", "cut", "500", "502", "503", "504", "lost", "cut-body", "cut-headers"])
@pytest.mark.parametrize("case", ["submit-create-run", "create-schedule", "submit-create-experiment", "run-now"])
def test_nobody_repeats_what_may_have_happened_when_looking_is_impossible(case: str, kind: str, place: Place) -> None:
    one = CASES[case]
    lists = {"CreateRun": "ListRuns", "CreateRecurringRun": "ListRecurringRuns", "CreateExperiment": "ListExperiments"}
    one.before(place)
    if one.call == "CreateExperiment":
        place.server.fail_after("CreateExperiment", "ListExperiments", "403", times=1000)
    else:
        place.server.fail(lists[one.call], "403", times=1000)
    place.server.fail(one.call, kind, times=1000)
    with pytest.raises(PlatformError, match="Nobody knows whether it was made") as caught:
        one.act(place)
    assert caught.value.may_have_happened
    assert place.server.calls.count(one.call) == 1


def test_a_reply_that_comes_after_the_client_gave_up_makes_no_second_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server takes the call, and shows the run only after the first look.
    place.with_run()
    place.server.fail("CreateRun", "lost")
    place.server.fail("ListRuns", "another", body=b'{"runs": []}')
    run_id = place.platform.submit(new_job(), name="mnist-training-1")
    assert [run["display_name"] for run in place.server.runs.values()].count("mnist-training-1") == 1
    assert place.server.runs[run_id]["display_name"] == "mnist-training-1"


def test_a_busy_host_is_given_the_time_that_it_asks_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 5.0)
    place.with_run()
    place.server.fail("GetRun", "429", retry_after="1")
    started = time.monotonic()
    assert place.platform.read_run(place.run_id).state is State.RUNNING
    assert time.monotonic() - started >= 1.0


def test_a_host_that_asks_for_much_patience_is_not_waited_for(place: Place) -> None:
    place.with_run()
    place.server.fail("GetRun", "503", retry_after="3600")
    started = time.monotonic()
    with pytest.raises(PlatformError, match=r"asks for 3600 seconds of patience\. Repeat the command then") as caught:
        place.platform.read_run(place.run_id)
    assert not isinstance(caught.value, TransientError)
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("", 0.0), ("soon", 0.0), ("-3", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_what_a_host_asks_for_is_read_in_both_forms(text: str, seconds: float) -> None:
    assert errors.Answer(429, "", {"retry-after": text}, "").wait_seconds == seconds


def test_why_a_run_failed_is_no_reason_to_wait_long(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.with_run()
    place.server.script(SUCCESS)
    place.server.fail("GetRunV1", "503", times=1000)
    assert place.platform.read_run(place.run_id).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "body", [b"{", b"", b"[]", b'"text"', b"\xff\xfe", b'{"runs": 5}', b'{"runs": [{"created_at": "x"}]}']
)
def test_an_answer_that_is_not_the_apis_is_told(body: bytes, place: Place) -> None:
    place.server.fail("ListRecurringRuns", "another", body=body.replace(b"runs", b"recurringRuns"))
    if body in (b"[]", b'"text"'):
        assert place.platform.list_schedules() == []
        return
    with pytest.raises(
        PlatformError, match=r"it answered 200 .*which is not what its API v2beta1 answers\. .*mnist doctor"
    ):
        place.platform.list_schedules()


def test_a_page_that_is_no_login_page_makes_one_think_of_the_address(kubeflow_server: KubeflowServer) -> None:
    profile = new_profile(kubeflow_server, host=f"{kubeflow_server.host}/elsewhere")
    with pytest.raises(
        SignInError, match=r"\(a web page\): not signed in.* On a whole Kubeflow it ends with /pipeline\."
    ):
        client.Kubeflow(profile).list_schedules()


def test_a_host_that_has_moved_is_told_with_its_new_address(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    kubeflow_server.fail("ListRecurringRuns", "moved")
    words = r"it answered 301: moved to https://kubeflow\.example\.com/pipeline/apis\. Correct host in \[cluster\]\."
    with pytest.raises(PlatformError, match=words):
        platform.list_schedules()


def test_an_address_that_something_else_answers_is_told(kubeflow_server: KubeflowServer) -> None:
    kubeflow_server.fail("ListRecurringRuns", "404", body=b"404 page not found")
    with pytest.raises(
        PlatformError, match=r"404 .*not as Kubeflow Pipelines does\. Is host of \[cluster\] right"
    ) as caught:
        client.Kubeflow(new_profile(kubeflow_server)).list_schedules()
    assert not isinstance(caught.value, MissingError)


def test_a_host_that_nobody_knows_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 60.0)
    with KubeflowServer() as server:
        profile = new_profile(server, host="http://kubeflow.invalid")
        started = time.monotonic()
        with pytest.raises(
            PlatformError, match=r"kubeflow\.invalid could not list its schedules: .*Check (host|the network)"
        ):
            client.Kubeflow(profile).list_schedules()
    assert time.monotonic() - started < 30.0


class Names:
    """Stands before this machine's resolver, and loses every name while there are losses left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.losses = 0
        self._look_up = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, *args: Any, **rest: Any) -> Any:
        if self.losses:
            self.losses -= 1
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._look_up(*args, **rest)


def test_a_name_that_is_lost_for_a_while_does_not_end_what_follows_a_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    place.with_run()
    assert place.platform.read_run(place.run_id).state is State.RUNNING
    place.server.refuse(0.01)  # ends the connection that stands, so that the name is looked up again
    names.losses = 3
    assert place.platform.read_run(place.run_id).state is State.RUNNING
    assert names.losses == 0


def test_a_name_that_stays_lost_is_told_after_the_patience_and_makes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.05)
    names = Names(monkeypatch)
    assert place.platform.list_schedules() == []
    place.server.refuse(0.01)
    names.losses = 1000
    with pytest.raises(TransientError, match=r"the host's name is not known\. Check host in the profile") as caught:
        submit(place)
    assert not caught.value.may_have_happened
    assert names.losses < 999  # asked more than once
    assert place.server.runs == {}


def test_a_name_that_was_never_known_is_asked_for_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    names.losses = 1000
    with pytest.raises(PlatformError, match=r"the host's name is not known\. Check host in the profile") as caught:
        place.platform.list_schedules()
    assert not isinstance(caught.value, TransientError)
    assert names.losses == 999


def test_a_page_has_its_api_nowhere_but_below_its_path() -> None:
    with KubeflowServer(namespaces=("team-a",), path="/pipeline") as server:
        assert client.Kubeflow(new_profile(server)).list_schedules() == []
        profile = new_profile(server, host=server.origin)
        with pytest.raises(PlatformError, match=r"404 .*not as Kubeflow Pipelines does\. Is host of \[cluster\] right"):
            client.Kubeflow(profile).list_schedules()
