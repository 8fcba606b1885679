"""Runs on a played Kubeflow Pipelines, through the vendor's own client."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.cloud import storage
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.compilation import Job
from pipelines.platforms.base import (
    ConflictError,
    DeniedError,
    Mark,
    MissingError,
    PlatformClient,
    PlatformError,
    RunState,
    State,
)
from pipelines.platforms.kubeflow import client, connection
from pipelines.platforms.kubeflow.credentials import TokenSignIn
from pipelines.profiles import Schedule
from tests.fakes.kubeflow.argo import Step
from tests.fakes.kubeflow.jobs import new_job, new_profile
from tests.fakes.kubeflow.server import ANOTHER, KubeflowServer
from tests.fakes.kubeflow.state import HALF, START, SUCCESS, fail_at
from tests.fakes.storage_server import StorageServer

REPORT = json.dumps(
    {"error": "DeviceError", "details": "Traceback ...", "message": "no GPU was found. Set require_gpu."}
)


@pytest.fixture
def platform(kubeflow_server: KubeflowServer) -> PlatformClient:
    return client.Kubeflow(new_profile(kubeflow_server))


def states(run: RunState) -> dict[str, str]:
    return {task.name: str(task.state) for task in run.tasks}


def test_a_run_is_started_with_every_parameter_in_its_own_type(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    job = dataclasses.replace(new_job(), code="0123456789abcdef")
    run_id = platform.submit(job, name="mnist-training-1")
    [run] = kubeflow_server.runs.values()
    [experiment] = kubeflow_server.experiments.values()
    assert (run["run_id"], run["display_name"]) == (run_id, "mnist-training-1")
    assert run["description"] == "code 0123456789abcdef"
    assert (experiment["display_name"], experiment["namespace"]) == ("mnist-training", "team-a")
    assert run["experiment_id"] == experiment["experiment_id"]
    assert run["runtime_config"] == {"parameters": dict(new_job().parameters)}
    assert {type(value) for value in run["runtime_config"]["parameters"].values()} == {str, int, float, bool}
    assert run["pipeline_spec"] == new_job().documents[0]
    assert "service_account" not in run
    assert platform.link(run_id) == f"{kubeflow_server.host}/#/runs/details/{run_id}"


def test_what_kubernetes_needs_goes_along_as_the_sdk_sends_it(kubeflow_server: KubeflowServer) -> None:
    profile = new_profile(kubeflow_server, service_account="trainer", pipeline_root="gs://bucket/root")
    job = new_job(with_platform=True)
    assert len(job.documents) == 2
    client.Kubeflow(profile).submit(job, name="mnist-training-1")
    [run] = kubeflow_server.runs.values()
    spec = json_format.ParseDict(job.documents[0], pipeline_spec_pb2.PipelineSpec())
    platform = json_format.ParseDict(job.documents[1], pipeline_spec_pb2.PlatformSpec())
    # So does kfp.Client build it, from the same messages.
    assert run["pipeline_spec"] == {
        "pipeline_spec": json_format.MessageToDict(spec),
        "platform_spec": json_format.MessageToDict(platform),
    }
    assert run["service_account"] == "trainer"
    assert run["runtime_config"]["pipeline_root"] == "gs://bucket/root"


def test_an_experiment_that_is_there_is_taken(kubeflow_server: KubeflowServer) -> None:
    platform = client.Kubeflow(new_profile(kubeflow_server, experiment="100% Ziffern + mehr"))
    for name in ("first-1", "second-1"):
        platform.submit(new_job(), name=name)
    [experiment] = kubeflow_server.experiments.values()
    assert experiment["display_name"] == "100% Ziffern + mehr"
    assert {run["experiment_id"] for run in kubeflow_server.runs.values()} == {experiment["experiment_id"]}


def test_an_experiment_that_differs_in_capitals_is_another(kubeflow_server: KubeflowServer) -> None:
    for name in ("Digits", "digits"):
        client.Kubeflow(new_profile(kubeflow_server, experiment=name)).submit(new_job(), name=f"run-{name.lower()}")
    assert sorted(each["display_name"] for each in kubeflow_server.experiments.values()) == ["Digits", "digits"]


def test_an_experiment_is_found_on_a_later_page(
    kubeflow_server: KubeflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAGE_SIZE", 2)
    names = ["DIGITS", "Digits", "dIGITS", "diGits", "digits"]  # the server's filter finds them all
    for name in names:
        client.Kubeflow(new_profile(kubeflow_server, experiment=name)).submit(new_job(), name="run-1")
    platform = client.Kubeflow(new_profile(kubeflow_server, experiment="digits"))
    run_id = platform.submit(new_job(), name="run-2")
    assert len(kubeflow_server.experiments) == len(names)
    experiment = kubeflow_server.experiments[kubeflow_server.runs[run_id]["experiment_id"]]
    assert experiment["display_name"] == "digits"


def test_an_experiment_that_somebody_makes_meanwhile_is_taken(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.submit(new_job(), name="first-1")
    # The list does not show it yet, and making it finds it there.
    kubeflow_server.fail("ListExperiments", ANOTHER, body=b"{}")
    platform.submit(new_job(), name="second-1")
    assert len(kubeflow_server.experiments) == 1
    assert kubeflow_server.calls[-4:] == ["ListExperiments", "CreateExperiment", "ListExperiments", "CreateRun"]


def test_an_archived_experiment_is_refused_with_its_page(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.submit(new_job(), name="first-1")
    next(iter(kubeflow_server.experiments.values()))["storage_state"] = "ARCHIVED"
    with pytest.raises(ConflictError, match=r"mnist-training is archived\. Restore it: http.*/#/archive/experiments"):
        platform.submit(new_job(), name="second-1")
    assert len(kubeflow_server.runs) == 1


def test_a_kubeflow_pipelines_without_profiles_is_sent_no_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with KubeflowServer() as server:
        platform = client.Kubeflow(new_profile(server, namespace=None))
        platform.submit(new_job(), name="mnist-training-1")
        assert platform.list_schedules() == []
        assert [experiment["namespace"] for experiment in server.experiments.values()] == [""]
        with pytest.raises(PlatformError, match="In single-user mode, List cannot have a namespace"):
            client.Kubeflow(new_profile(server)).submit(new_job(), name="mnist-training-2")


def test_a_namespace_of_others_is_refused_with_whom_to_ask(
    kubeflow_server: KubeflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", "token")
    way = TokenSignIn(method="token", variable="KUBEFLOW_TOKEN")
    platform = client.Kubeflow(new_profile(kubeflow_server, namespace="team-b", sign_in=way))
    with pytest.raises(DeniedError) as caught:
        platform.submit(new_job(), name="mnist-training-1")
    assert "not authorized in the namespace team-b" in str(caught.value)
    assert "Ask the owner of the namespace team-b to add you as a contributor" in str(caught.value)


def test_a_profile_without_sign_in_that_is_denied_is_advised_to_sign_in(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    kubeflow_server.fail("ListExperiments", "403")
    with pytest.raises(DeniedError, match=r"\[cluster\] does not sign in: set sign_in"):
        platform.submit(new_job(), name="mnist-training-1")


def test_a_proxy_is_taken_where_the_machine_names_one(
    kubeflow_server: KubeflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", kubeflow_server.origin)
    # Nobody knows this host but the proxy, which answers for it.
    platform = client.Kubeflow(new_profile(kubeflow_server, host="http://kubeflow.invalid"))
    run_id = platform.submit(new_job(), name="mnist-training-1")
    assert list(kubeflow_server.runs) == [run_id]
    assert kubeflow_server.requests[0].address.startswith("http://kubeflow.invalid/apis/v2beta1/experiments")


def test_a_wrong_parameter_is_refused_in_the_servers_words(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    job = Job(new_job().documents, {"epochs": "five"})
    with pytest.raises(PlatformError, match=r"could not start the run x-1: it answered 400 .*epochs has 'five'"):
        platform.submit(job, name="x-1")
    assert kubeflow_server.runs == {}
    assert kubeflow_server.calls.count("CreateRun") == 1


def test_a_refusal_that_the_server_wraps_in_500_is_not_tried_again(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    with pytest.raises(PlatformError, match=r"it answered 500 .*Run name cannot be empty"):
        platform.submit(new_job(), name="")
    assert kubeflow_server.calls.count("CreateRun") == 1


def test_a_run_is_seen_from_its_submission_to_its_success(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    assert platform.read_run(run_id) == RunState(State.WAITING)
    kubeflow_server.script(START, HALF, SUCCESS)
    first, second, last = (platform.read_run(run_id) for _ in range(3))
    assert (first.state, states(first)) == (State.RUNNING, {"ingest": "running"})
    assert (second.state, states(second)) == (State.RUNNING, {"ingest": "succeeded", "train": "running"})
    assert last.state is State.SUCCEEDED
    assert states(last) == dict.fromkeys(("ingest", "train", "evaluate", "visualize"), "succeeded")
    assert {task.seconds for task in last.tasks} == {10.0}
    assert {task.seconds for task in first.tasks} == {None}


def test_a_failed_step_shows_what_its_container_left_behind(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(fail_at("train", f"Error (exit code 1): {REPORT}"))
    run = platform.read_run(run_id)
    assert run.state is State.FAILED
    assert states(run) == {"ingest": "succeeded", "train": "failed", "evaluate": "skipped", "visualize": "skipped"}
    messages = {task.name: task.message for task in run.tasks if task.message}
    assert messages == {"train": f"Error (exit code 1): {REPORT}"}


def test_a_failed_step_is_reported_while_others_still_run(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    steps = {"ingest": Step("SUCCEEDED"), "train": Step("FAILED", "OOMKilled (exit code 137)", attempts=3)}
    kubeflow_server.script({"state": "RUNNING", "steps": steps})
    run = platform.read_run(run_id)
    assert run.state is State.RUNNING
    assert {task.name: task.message for task in run.tasks} == {"ingest": "", "train": "OOMKilled (exit code 137)"}


def test_a_step_that_could_not_be_prepared_has_failed(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    words = "Error (exit code 1): cannot resolve the inputs"
    kubeflow_server.script({"state": "FAILED", "steps": {"ingest": Step("DRIVER_FAILED", words)}})
    run = platform.read_run(run_id)
    assert states(run) == {"ingest": "failed"}
    assert run.tasks[0].message == words


def test_what_came_from_the_cache_is_shown_as_cached(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    steps = {**SUCCESS["steps"], "train": Step("CACHED"), "evaluate": Step("SUCCEEDED", attempts=2)}
    kubeflow_server.script({"state": "SUCCEEDED", "steps": steps})
    expected = {"ingest": "succeeded", "train": "cached", "evaluate": "succeeded", "visualize": "succeeded"}
    assert states(platform.read_run(run_id)) == expected


def test_a_server_without_the_older_api_gives_no_messages_and_all_the_rest(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    kubeflow_server.state.has_v1 = False
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(fail_at("train", REPORT))
    run = platform.read_run(run_id)
    assert (run.state, states(run)["train"]) == (State.FAILED, "failed")
    assert {task.message for task in run.tasks} == {""}


def test_a_run_is_cancelled_once_and_known_as_cancelled(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(HALF)
    platform.cancel(run_id)
    assert kubeflow_server.runs[run_id]["state"] == "CANCELING"
    platform.cancel(run_id)  # it is ending, which is fine
    run = platform.read_run(run_id)
    assert kubeflow_server.runs[run_id]["state"] == "FAILED"  # the server itself does not remember
    assert (run.state, states(run)) == (State.CANCELLED, {"ingest": "succeeded", "train": "cancelled"})
    assert kubeflow_server.calls.count("TerminateRun") == 1


def test_a_run_that_was_cancelled_between_two_attempts_of_a_step_is_cancelled(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    steps = {"ingest": Step("SUCCEEDED"), "train": Step("RETRYING", REPORT, attempts=2)}
    kubeflow_server.script({"state": "RUNNING", "steps": steps})
    assert states(platform.read_run(run_id)) == {"ingest": "succeeded", "train": "running"}
    platform.cancel(run_id)
    run = platform.read_run(run_id)
    assert (run.state, run.message) == (State.CANCELLED, "")
    assert states(run) == {"ingest": "succeeded", "train": "failed"}
    assert {task.name: task.message for task in run.tasks if task.message} == {"train": REPORT}


def test_a_pod_that_vanished_is_not_retried_and_the_message_says_what_to_do(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(fail_at("train", state="VANISHED"))
    run = platform.read_run(run_id)
    assert (run.state, states(run)["train"]) == (State.FAILED, "failed")
    [message] = [task.message for task in run.tasks if task.message]
    assert re.search(r"its pod was deleted, .*does not retry that\. Submit the run again\.", message)


def test_a_run_that_has_ended_is_left_as_it_is(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(SUCCESS)
    platform.cancel(run_id)
    assert kubeflow_server.runs[run_id]["state"] == "SUCCEEDED"


def test_a_run_that_ends_while_it_is_cancelled_is_no_error(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(START, SUCCESS)
    kubeflow_server.fail("TerminateRun", "400")  # as the server refuses what has ended meanwhile
    platform.cancel(run_id)
    assert kubeflow_server.runs[run_id]["state"] == "SUCCEEDED"


def test_a_cancellation_that_is_refused_says_so(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(START)
    kubeflow_server.fail("TerminateRun", "403")
    with pytest.raises(PlatformError, match=f"could not cancel the run {run_id}: it answered 403"):
        platform.cancel(run_id)
    assert kubeflow_server.runs[run_id]["state"] == "RUNNING"


def test_a_run_that_is_not_there_is_missing(platform: PlatformClient) -> None:
    with pytest.raises(MissingError, match=r"could not read the run nothing: it answered 404 .*Run nothing not found"):
        platform.read_run("nothing")


def test_artifacts_of_the_clusters_own_storage_are_not_looked_for(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    run_id = platform.submit(new_job(), name="mnist-training-1")
    assert platform.find_artifacts(run_id) == {}


def test_artifacts_are_found_where_the_run_put_them(
    kubeflow_server: KubeflowServer, storage_server: StorageServer
) -> None:
    bucket = storage.Client(project="test").create_bucket("artifacts")
    platform = client.Kubeflow(new_profile(kubeflow_server, pipeline_root="gs://artifacts/some/root/"))
    run_id = platform.submit(new_job(), name="mnist-training-1")
    folder = f"some/root/mnist-training/{run_id}"
    salt = "8c5b7f4e-3f0a-4a77-9d5e-0d4d2f3c9a11"
    names = {
        f"{folder}/train/{salt}/model/model.json",
        f"{folder}/train/{salt}/model/model.onnx",
        f"{folder}/train/{salt}/executor-logs",
        f"{folder}/visualize/{salt}/report",
        f"{folder}/evaluate/metrics/metrics.json",  # as versions before 2.4 wrote it
        f"{folder}/somebody/{salt}/else",
        f"some/root/mnist-training/another-run/train/{salt}/history/history.csv",
    }
    for name in names:
        bucket.blob(name).upload_from_string(name)
    # Where the profile points to now does not matter.
    later = client.Kubeflow(new_profile(kubeflow_server, pipeline_root="gs://elsewhere"))
    try:
        assert later.find_artifacts(run_id) == {
            ("train", "model"): f"gs://artifacts/{folder}/train/{salt}/model",
            ("visualize", "report"): f"gs://artifacts/{folder}/visualize/{salt}/report",
            ("evaluate", "metrics"): f"gs://artifacts/{folder}/evaluate/metrics",
        }
    finally:
        bucket.delete(force=True)


def test_the_sdk_reads_what_was_made(kubeflow_server: KubeflowServer, platform: PlatformClient, tmp_path: Path) -> None:
    run_id = platform.submit(new_job(with_platform=True), name="mnist-training-1")
    schedule = Schedule(name="nightly", cron="0 6 * * 1")
    id = platform.create_schedule(schedule, new_job(with_platform=True), Mark("cluster", "nightly", "ab")).id
    kubeflow_server.script(SUCCESS)
    script = f"""
import json, kfp
client = kfp.Client(host={kubeflow_server.host!r} + "/", namespace="team-a")
client._existing_config.host = {kubeflow_server.host!r}
experiment = client.get_experiment(experiment_name="mnist-training", namespace="team-a")
runs = client.list_runs(experiment_id=experiment.experiment_id, namespace="team-a").runs
run = client.get_run({run_id!r})
[job] = client.list_recurring_runs(namespace="team-a").recurring_runs
again = client.get_recurring_run({id!r})
client.disable_recurring_run({id!r})
print(json.dumps([runs[0].display_name, run.state, len(run.run_details.task_details), job.status, again.display_name]))
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    name, state, count, status, title = json.loads(result.stdout)
    assert (name, state, status, title) == ("mnist-training-1", "SUCCEEDED", "ENABLED", "cluster-nightly")
    assert count > 4
    assert kubeflow_server.recurring_runs[id]["status"] == "DISABLED"
