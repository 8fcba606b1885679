"""Every fault at every call to a played Kubeflow Pipelines; what counts is what the server has afterwards."""

import contextlib
import re
import socket
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
from tests.fakes.clock import Clock
from tests.fakes.kubeflow.jobs import new_job, new_profile
from tests.fakes.kubeflow.server import FAULTS, KubeflowServer
from tests.fakes.kubeflow.state import HALF, SUCCESS

SCHEDULE = Schedule(name="nightly", cron="0 6 * * 1")
MARK = Mark("cluster", "nightly", "0123456789abcdef")
# What one fault ends at once; all others are transient.
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
TRANSIENT = [kind for kind in FAULTS if kind not in FINAL]
LOST = ("cut-headers", "cut-body", "lost")  # carried out, but the answer is lost


@pytest.fixture
def platform(kubeflow_server: KubeflowServer) -> PlatformClient:
    return client.Kubeflow(new_profile(kubeflow_server))


class Scene:
    """A server, a client of it, and what the server has before a test acts."""

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
        before: Makes what the server has already.
        act: The method.
        done: Whether the server shows that it was carried out, exactly once.
        creates: The call makes something.
        after: The call that comes before it, when it is not the first.
    """

    call: str
    before: Callable[[Scene], None]
    act: Callable[[Scene], object]
    done: Callable[[Scene], bool]
    creates: bool = False
    after: str = ""


def submit(scene: Scene) -> object:
    return scene.platform.submit(new_job(), name="mnist-training-1")


def has_one_run(scene: Scene) -> bool:
    return [run["display_name"] for run in scene.server.runs.values()] == ["mnist-training-1"]


def create(scene: Scene) -> object:
    return scene.platform.create_schedule(SCHEDULE, new_job(), MARK)


def has_one_schedule(scene: Scene) -> bool:
    return [each["display_name"] for each in scene.server.recurring_runs.values()] == ["cluster-nightly"]


def nothing(scene: Scene) -> None:
    pass


def always(scene: Scene) -> bool:
    return True


CASES = {
    "submit-list-experiments": Case("ListExperiments", nothing, submit, has_one_run),
    "submit-create-experiment": Case(
        "CreateExperiment",
        nothing,
        submit,
        lambda scene: has_one_run(scene) and len(scene.server.experiments) == 1,
        creates=True,
        after="ListExperiments",
    ),
    "submit-create-run": Case("CreateRun", nothing, submit, has_one_run, creates=True, after="CreateExperiment"),
    "read-run": Case(
        "GetRun",
        Scene.with_run,
        lambda scene: scene.platform.read_run(scene.run_id),
        always,
    ),
    "cancel": Case(
        "TerminateRun",
        Scene.with_run,
        lambda scene: scene.platform.cancel(scene.run_id),
        lambda scene: scene.server.runs[scene.run_id]["state"] in ("CANCELING", "FAILED"),
        after="GetRun",
    ),
    "create-schedule": Case(
        "CreateRecurringRun", nothing, create, has_one_schedule, creates=True, after="CreateExperiment"
    ),
    "list-schedules": Case(
        "ListRecurringRuns", Scene.with_schedule, lambda scene: scene.platform.list_schedules(), always
    ),
    "pause": Case(
        "DisableRecurringRun",
        Scene.with_schedule,
        lambda scene: scene.platform.pause_schedule(scene.schedule_id),
        lambda scene: scene.schedule["status"] == "DISABLED",
    ),
    "resume-read": Case(
        "GetRecurringRun",
        Scene.with_schedule,
        lambda scene: scene.platform.resume_schedule(scene.schedule_id),
        lambda scene: scene.schedule["status"] == "ENABLED",
    ),
    "resume": Case(
        "EnableRecurringRun",
        Scene.with_schedule,
        lambda scene: scene.platform.resume_schedule(scene.schedule_id),
        lambda scene: scene.schedule["status"] == "ENABLED",
        after="GetRecurringRun",
    ),
    "delete": Case(
        "DeleteRecurringRun",
        Scene.with_schedule,
        lambda scene: scene.platform.delete_schedule(scene.schedule_id),
        lambda scene: scene.server.recurring_runs == {},
    ),
    "run-now": Case(
        "CreateRun",
        Scene.with_schedule,
        lambda scene: scene.platform.run_schedule(scene.schedule_id, name="mnist-training-1"),
        has_one_run,
        creates=True,
        after="GetRecurringRun",
    ),
}
all_cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture
def scene(kubeflow_server: KubeflowServer, platform: PlatformClient) -> Scene:
    return Scene(kubeflow_server, platform)


@all_cases
@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_fault_that_happens_once_is_not_noticed(case: Case, kind: str, scene: Scene) -> None:
    case.before(scene)
    scene.server.fail(case.call, kind)
    case.act(scene)
    assert case.done(scene)


@all_cases
def test_connections_that_are_refused_for_a_while_are_not_noticed(
    case: Case, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[Exception] = []

    def accept_after_two(error: Exception) -> None:
        refused.append(error)
        if len(refused) == 2:
            scene.server.accept()

    monkeypatch.setattr(retrying, "on_trouble", accept_after_two)
    case.before(scene)
    scene.server.refuse(after=case.after)
    case.act(scene)
    assert case.done(scene)
    assert len(refused) == 2


@all_cases
@pytest.mark.parametrize("kind", FINAL)
def test_a_refusal_is_final_and_leaves_everything_as_it_was(case: Case, kind: str, scene: Scene) -> None:
    case.before(scene)
    scene.server.fail(case.call, kind)
    if (case.call, kind) in (("DeleteRecurringRun", "404"), ("CreateExperiment", "409")):
        # Gone already is as good as deleted; and who finds it there looks for it, and then makes it.
        with contextlib.suppress(ConflictError):
            case.act(scene)
        return
    with pytest.raises(FINAL[kind]) as caught:
        case.act(scene)
    assert type(caught.value) is FINAL[kind]
    assert not caught.value.may_have_happened
    assert scene.server.calls.count(case.call) == 1
    if case.creates:
        assert not case.done(scene)


@all_cases
@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_fault_that_lasts_ends_in_one_plain_line(case: Case, kind: str, scene: Scene) -> None:
    case.before(scene)
    scene.server.fail(case.call, kind, times=1000)
    if kind in LOST and (case.creates or case.call == "TerminateRun"):
        case.act(scene)  # what was made is found, and a run that is ending is seen
        assert case.done(scene)
        return
    with pytest.raises(TransientError) as caught:
        case.act(scene)
    is_open = case.creates and kind not in ("429",)
    assert caught.value.may_have_happened is is_open
    message = str(caught.value)
    assert re.match(rf"Kubeflow Pipelines at {scene.server.host} could not [a-z]+ .*: .*\.", message), message
    assert not re.search(r"<|Traceback|HTTPConnectionPool|Max retries", message)


@all_cases
def test_a_host_that_refuses_connections_is_reported_and_nothing_is_made(case: Case, scene: Scene) -> None:
    case.before(scene)
    scene.server.refuse(after=case.after)
    with pytest.raises(TransientError, match=r"no connection \(Connection refused\)\. Is it running") as caught:
        case.act(scene)
    assert not caught.value.may_have_happened
    if case.creates:
        assert not case.done(scene)


@pytest.mark.parametrize("kind", ["timeout", "cut", "500", "502", "503", "504", "lost", "cut-body", "cut-headers"])
@pytest.mark.parametrize("case", ["submit-create-run", "create-schedule", "submit-create-experiment", "run-now"])
def test_nobody_repeats_what_may_have_happened_when_looking_is_impossible(case: str, kind: str, scene: Scene) -> None:
    one = CASES[case]
    lists = {"CreateRun": "ListRuns", "CreateRecurringRun": "ListRecurringRuns", "CreateExperiment": "ListExperiments"}
    one.before(scene)
    if one.call == "CreateExperiment":
        scene.server.fail_after("CreateExperiment", "ListExperiments", "403", times=1000)
    else:
        scene.server.fail(lists[one.call], "403", times=1000)
    scene.server.fail(one.call, kind, times=1000)
    with pytest.raises(PlatformError, match="It may or may not have been created") as caught:
        one.act(scene)
    assert caught.value.may_have_happened
    assert scene.server.calls.count(one.call) == 1


def test_a_reply_that_comes_after_the_client_gave_up_makes_no_second_run(scene: Scene) -> None:
    # The server takes the call, and shows the run only after the first look.
    scene.with_run()
    scene.server.fail("CreateRun", "lost")
    scene.server.fail("ListRuns", "another", body=b'{"runs": []}')
    run_id = scene.platform.submit(new_job(), name="mnist-training-1")
    assert [run["display_name"] for run in scene.server.runs.values()].count("mnist-training-1") == 1
    assert scene.server.runs[run_id]["display_name"] == "mnist-training-1"


def test_a_busy_host_is_given_the_time_that_it_asks_for(scene: Scene, clock: Clock) -> None:
    scene.with_run()
    scene.server.fail("GetRun", "429", retry_after="7")
    assert scene.platform.read_run(scene.run_id).state is State.RUNNING
    assert clock.seconds >= 7.0


def test_a_host_that_asks_for_too_long_a_wait_is_not_waited_for(scene: Scene, clock: Clock) -> None:
    scene.with_run()
    scene.server.fail("GetRun", "503", retry_after="3600")
    with pytest.raises(PlatformError, match=r"asks to wait 3600 seconds\. Repeat the command then") as caught:
        scene.platform.read_run(scene.run_id)
    assert not isinstance(caught.value, TransientError)
    assert clock.seconds == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("", 0.0), ("soon", 0.0), ("-3", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_what_a_host_asks_for_is_read_in_both_forms(text: str, seconds: float) -> None:
    assert errors.AnswerError(429, "", {"retry-after": text}, "").wait_seconds == seconds


def test_the_details_of_a_run_are_not_waited_for_long(scene: Scene, clock: Clock) -> None:
    scene.with_run()
    scene.server.script(SUCCESS)
    scene.server.fail("GetRunV1", "503", times=1000)
    assert scene.platform.read_run(scene.run_id).state is State.SUCCEEDED
    assert clock.seconds <= client.EXTRAS_SECONDS


@pytest.mark.parametrize(
    "body", [b"{", b"", b"[]", b'"text"', b"\xff\xfe", b'{"runs": 5}', b'{"runs": [{"created_at": "x"}]}']
)
def test_an_answer_that_is_not_the_apis_is_reported(body: bytes, scene: Scene) -> None:
    scene.server.fail("ListRecurringRuns", "another", body=body.replace(b"runs", b"recurringRuns"))
    if body in (b"[]", b'"text"'):
        assert scene.platform.list_schedules() == []
        return
    with pytest.raises(
        PlatformError, match=r"it answered 200 .*which is not an answer of its API v2beta1\. .*mnist doctor"
    ):
        scene.platform.list_schedules()


def test_a_page_that_is_no_login_page_puts_the_address_in_question(kubeflow_server: KubeflowServer) -> None:
    profile = new_profile(kubeflow_server, host=f"{kubeflow_server.host}/elsewhere")
    with pytest.raises(
        SignInError, match=r"\(a web page\): not signed in.* On a full Kubeflow it ends with /pipeline\."
    ):
        client.Kubeflow(profile).list_schedules()


def test_a_host_that_has_moved_is_reported_with_its_new_address(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    kubeflow_server.fail("ListRecurringRuns", "moved")
    words = r"it answered 301: moved to https://kubeflow\.example\.com/pipeline/apis\. Correct host in \[cluster\]\."
    with pytest.raises(PlatformError, match=words):
        platform.list_schedules()


def test_an_address_of_another_server_is_reported(kubeflow_server: KubeflowServer) -> None:
    kubeflow_server.fail("ListRecurringRuns", "404", body=b"404 page not found")
    with pytest.raises(
        PlatformError, match=r"404 .*so it is not Kubeflow Pipelines\. Is host of \[cluster\] right"
    ) as caught:
        client.Kubeflow(new_profile(kubeflow_server)).list_schedules()
    assert not isinstance(caught.value, MissingError)


def test_a_host_that_no_resolver_knows_is_reported(kubeflow_server: KubeflowServer) -> None:
    profile = new_profile(kubeflow_server, host="http://kubeflow.invalid")
    with pytest.raises(
        PlatformError, match=r"kubeflow\.invalid could not list its schedules: .*Check (host|the network)"
    ):
        client.Kubeflow(profile).list_schedules()


class Names:
    """Takes the place of this machine's resolver, and loses every name while there are losses left."""

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
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    scene.with_run()
    assert scene.platform.read_run(scene.run_id).state is State.RUNNING
    scene.server.refuse()  # drops the open connection, so that the name is looked up again
    scene.server.accept()
    names.losses = 3
    assert scene.platform.read_run(scene.run_id).state is State.RUNNING
    assert names.losses == 0


def test_a_name_that_stays_lost_is_reported_after_some_tries_and_nothing_is_made(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    assert scene.platform.list_schedules() == []
    scene.server.refuse()
    scene.server.accept()
    names.losses = 1000
    with pytest.raises(TransientError, match=r"the host's name is not known\. Check host in the profile") as caught:
        submit(scene)
    assert not caught.value.may_have_happened
    assert names.losses < 999  # asked more than once
    assert scene.server.runs == {}


def test_a_name_that_was_never_known_is_looked_up_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    names.losses = 1000
    with pytest.raises(PlatformError, match=r"the host's name is not known\. Check host in the profile") as caught:
        scene.platform.list_schedules()
    assert not isinstance(caught.value, TransientError)
    assert names.losses == 999


def test_a_page_has_its_api_nowhere_but_below_its_path() -> None:
    with KubeflowServer(namespaces=("team-a",), path="/pipeline") as server:
        assert client.Kubeflow(new_profile(server)).list_schedules() == []
        profile = new_profile(server, host=server.origin)
        with pytest.raises(
            PlatformError, match=r"404 .*so it is not Kubeflow Pipelines\. Is host of \[cluster\] right"
        ):
            client.Kubeflow(profile).list_schedules()
