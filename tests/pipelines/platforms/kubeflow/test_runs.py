"""What answers of Kubeflow Pipelines and Argo say of a run, read without a server."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kfp_server_api import (
    GoogleRpcStatus,
    V2beta1PipelineTaskDetail,
    V2beta1Run,
    V2beta1RunDetails,
    V2beta1RuntimeStatus,
)

from pipelines.platforms.base import State
from pipelines.platforms.kubeflow.runs import NEVER, is_ending, read_artifacts, read_run
from pipelines.platforms.kubeflow.workflow import UNKNOWN, Workflow, read_workflow

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def task(name: str, state: str, **more: Any) -> V2beta1PipelineTaskDetail:
    return V2beta1PipelineTaskDetail(display_name=name, state=state, **more)


def run(state: str, *tasks: V2beta1PipelineTaskDetail, **more: Any) -> V2beta1Run:
    return V2beta1Run(state=state, run_details=V2beta1RunDetails(task_details=list(tasks)), **more)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PENDING", State.WAITING),
        ("PAUSED", State.WAITING),
        ("RUNTIME_STATE_UNSPECIFIED", State.WAITING),
        (None, State.WAITING),
        ("RUNNING", State.RUNNING),
        ("CANCELING", State.RUNNING),
        ("SUCCEEDED", State.SUCCEEDED),
        ("SKIPPED", State.SKIPPED),
        ("FAILED", State.FAILED),
        ("CANCELED", State.CANCELLED),
        ("SOMETHING_NEW", State.RUNNING),
    ],
)
def test_states_are_read(word: str | None, state: State) -> None:
    assert read_run(V2beta1Run(state=word)).state is state


@pytest.mark.parametrize(("word", "ending"), [("CANCELING", True), ("FAILED", True), ("RUNNING", False), (None, False)])
def test_a_run_that_is_ending_is_known(word: str | None, ending: bool) -> None:
    assert is_ending(V2beta1Run(state=word)) is ending


def test_only_steps_are_shown_not_what_runs_them() -> None:
    names = ["mnist-training-x7k2p", "root-driver", "root", "ingest-driver", "ingest", "executor", "executor(0)"]
    found = read_run(run("SUCCEEDED", *(task(name, "SUCCEEDED") for name in names)))
    assert [each.name for each in found.tasks] == ["ingest"]


def test_the_newest_attempt_counts() -> None:
    old = task("train", "FAILED", start_time=NOON, end_time=NOON + timedelta(seconds=5))
    new = task("train", "RUNNING", start_time=NOON + timedelta(minutes=5), end_time=NEVER)
    for tasks in ((old, new), (new, old)):
        assert [each.state for each in read_run(run("RUNNING", *tasks)).tasks] == [State.RUNNING]


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        (NOON, NOON + timedelta(seconds=90), 90.0),
        (NOON, NEVER, None),
        (NEVER, NOON, None),
        (None, NOON, None),
        (NOON, None, None),
    ],
)
def test_seconds_are_given_where_both_ends_are_known(
    start: datetime | None, end: datetime | None, seconds: float | None
) -> None:
    found = read_run(run("SUCCEEDED", task("train", "SUCCEEDED", start_time=start, end_time=end)))
    assert found.tasks[0].seconds == seconds


def test_a_driver_alone_is_a_step_that_waits() -> None:
    found = read_run(run("RUNNING", task("train-driver", "RUNNING")))
    assert [(each.name, each.state) for each in found.tasks] == [("train", State.WAITING)]


@pytest.mark.parametrize("field", ["error", "history"])
def test_the_servers_own_message_comes_first(field: str) -> None:
    error = GoogleRpcStatus(code=13, message="the pod was evicted")
    more = (
        {"error": error}
        if field == "error"
        else {"state_history": [V2beta1RuntimeStatus(error=error), V2beta1RuntimeStatus()]}
    )
    found = read_run(run("FAILED", task("train", "FAILED", **more), **more))
    assert (found.message, found.tasks[0].message) == ("the pod was evicted", "the pod was evicted")


def node(id: str, name: str, phase: str, within: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id, "displayName": name, "phase": phase, "boundaryID": within, "type": "Pod", **more}


def workflow(*nodes: dict[str, Any], **more: Any) -> Workflow:
    return Workflow({}, {"nodes": {each["id"]: each for each in nodes}, **more})


def test_the_last_attempts_message_is_found() -> None:
    found = workflow(
        node("1", "train", "Failed", type="DAG", message="child '2' failed", finishedAt="2026-11-22T12:09:00Z"),
        node(
            "2",
            "executor",
            "Failed",
            "1",
            type="Retry",
            message="No more retries left",
            finishedAt="2026-11-22T12:09:00Z",
        ),
        node("3", "executor(0)", "Failed", "1", message="first", finishedAt="2026-11-22T12:01:00Z"),
        node("4", "executor(1)", "Error", "1", message="second", finishedAt="2026-11-22T12:08:00Z"),
        node("5", "evaluate-driver", "Omitted", message="omitted"),
        node("6", "executor", "Failed", "9", message="of another step", finishedAt="2026-11-22T12:30:00Z"),
    )
    assert found.find_message("train") == "second"
    assert found.find_message("evaluate") == ""


def test_the_message_of_a_step_counts_where_its_containers_have_none() -> None:
    found = workflow(
        node("1", "train", "Failed", type="DAG", message="child '2' failed"), node("2", "executor", "Failed", "1")
    )
    assert found.find_message("train") == "child '2' failed"


@pytest.mark.parametrize(("phase", "cached"), [("Skipped", True), ("Succeeded", False), ("Running", False)])
def test_a_container_that_was_skipped_means_that_the_outputs_were_there(phase: str, cached: bool) -> None:
    found = workflow(node("1", "train", "Succeeded", type="DAG"), node("2", "executor", phase, "1"))
    assert found.is_cached("train") is cached


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"pipeline_runtime": {}}, {"pipeline_runtime": {"workflow_manifest": "{"}}, "text"],
)
def test_an_answer_without_a_workflow_is_none(answer: Any) -> None:
    assert read_workflow(answer) == UNKNOWN


def test_a_workflow_that_never_began_is_read() -> None:
    answer = {"pipeline_runtime": {"workflow_manifest": json.dumps({"spec": {}, "status": {"nodes": None}})}}
    found = read_workflow(answer)
    assert (found.find_message("train"), found.message, found.was_terminated) == ("", "", False)


def test_outputs_are_known_by_their_names_at_either_depth() -> None:
    folder = "gs://b/r/mnist-training/1"
    addresses = [
        f"{folder}/{name}" for name in ("train/salt/model/a/b", "ingest/test_data/x", "train/model-2/y", "train", "x")
    ]
    assert read_artifacts(f"{folder}/", addresses) == {
        ("train", "model"): f"{folder}/train/salt/model",
        ("ingest", "test_data"): f"{folder}/ingest/test_data",
    }
