"""Runs on Vertex AI, against a played server that speaks its protocol and keeps its state."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, PipelineState, PipelineTaskDetail

from components.mnist.errors import SettingError
from pipelines.compilation import Job
from pipelines.platforms.base import ConflictError, MissingError, PlatformClient, PlatformError, State
from pipelines.platforms.vertex.requests import CODE_LABEL, REQUEST_LABEL, build_request
from pipelines.platforms.vertex.runs import STATES, TASK_STATES
from tests.fakes.vertex.runs import STEP_SECONDS, STEPS, Scene, fail_at, succeed
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.test_profiles import vertex as make_profile
from tests.pipelines.platforms.vertex.clients import ACCOUNT, FULL, KEY, NETWORK, connect, make_job


def follow(platform: PlatformClient, run_id: str) -> list[Any]:
    """Every state that the run shows until it ends."""
    states = [platform.read_run(run_id)]
    while not states[-1].state.is_final:
        states.append(platform.read_run(run_id))
    return states


def test_a_run_is_submitted_as_the_profile_says(server: VertexServer, job: Job) -> None:
    job = replace(job, code="0123456789ab")
    assert connect(server, **FULL).submit(job, name="mnist-1") == "mnist-1"
    (made,) = server.jobs.values()
    assert made.name == "projects/123456789012/locations/europe-west4/pipelineJobs/mnist-1"
    assert (made.display_name, made.service_account, made.network) == ("mnist-1", ACCOUNT, NETWORK)
    assert made.encryption_spec.kms_key_name == KEY
    assert made.runtime_config.gcs_output_directory == "gs://bucket/root"
    assert {key: value for key, value in made.labels.items() if key != REQUEST_LABEL} == {
        **FULL["labels"],
        CODE_LABEL: "0123456789ab",
    }


def test_parameters_arrive_in_their_own_types(server: VertexServer, job: Job) -> None:
    connect(server).submit(job, name="mnist-1")
    arrived = dict(server.jobs["mnist-1"].runtime_config.parameter_values)
    assert arrived == job.parameters
    assert {name: type(value) for name, value in arrived.items() if isinstance(value, bool | str)} == {
        name: type(value) for name, value in job.parameters.items() if isinstance(value, bool | str)
    }


def test_a_run_is_followed_to_its_success(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    platform.submit(job, name="mnist-1")
    states = follow(platform, "mnist-1")
    assert states[-1].state is State.SUCCEEDED
    assert {task.name: (task.state, task.seconds) for task in states[-1].tasks} == dict.fromkeys(
        STEPS, (State.SUCCEEDED, STEP_SECONDS)
    )
    training_now = [task for state in states for task in state.tasks if (task.name, task.state) == ("train", "running")]
    assert training_now
    assert all(task.seconds is None for task in training_now)


def test_a_failed_run_says_which_step_failed_and_why(server: VertexServer, job: Job) -> None:
    server.play(fail_at("train", "The replica workerpool0-0 exited with a non-zero status of 1."))
    platform = connect(server)
    platform.submit(job, name="mnist-1")
    last = follow(platform, "mnist-1")[-1]
    assert last.state is State.FAILED
    assert last.message == "The DAG failed because some tasks failed. The failed tasks are: [train]."
    assert [(task.name, task.state) for task in last.tasks] == [("ingest", State.SUCCEEDED), ("train", State.FAILED)]
    assert last.tasks[1].message == "The replica workerpool0-0 exited with a non-zero status of 1."


def test_a_step_whose_earlier_result_was_taken_is_cached_and_one_without_its_condition_is_skipped(
    server: VertexServer, job: Job
) -> None:
    scenes = succeed(cached=["train"])
    server.play([*scenes[:-1], Scene("SUCCEEDED", {**scenes[-1].tasks, "visualize": "NOT_TRIGGERED"})])
    platform = connect(server)
    platform.submit(job, name="mnist-1")
    states = {task.name: task.state for task in follow(platform, "mnist-1")[-1].tasks}
    assert (states["train"], states["evaluate"], states["visualize"]) == (State.CACHED, State.SUCCEEDED, State.SKIPPED)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    {
        "QUEUED": "waiting",
        "PENDING": "waiting",
        "PAUSED": "waiting",
        "RUNNING": "running",
        "CANCELLING": "running",
        "CANCELLED": "cancelled",
        "SUCCEEDED": "succeeded",
        "FAILED": "failed",
    }.items(),
)
def test_every_state_of_a_run_is_known(server: VertexServer, job: Job, theirs: str, ours: str) -> None:
    server.play([Scene(theirs)])
    platform = connect(server)
    platform.submit(job, name="mnist-1")
    assert platform.read_run("mnist-1").state == ours


def test_no_state_of_the_api_is_forgotten() -> None:
    assert set(STATES) == set(PipelineState)
    assert set(TASK_STATES) == set(PipelineTaskDetail.State)


def test_artifacts_are_found_by_step_and_output(server: VertexServer, job: Job) -> None:
    server.uris[("evaluate", "metrics")] = "gs://elsewhere/metrics"
    server.uris[("visualize", "report")] = "https://example.com/report"
    platform = connect(server)
    platform.submit(job, name="mnist-1")
    assert platform.find_artifacts("mnist-1") == {}
    follow(platform, "mnist-1")
    found = platform.find_artifacts("mnist-1")
    assert found[("evaluate", "metrics")] == "gs://elsewhere/metrics"
    assert found[("train", "model")] == "gs://bucket/root/123456789012/mnist-1/train_3/model"
    assert ("visualize", "report") not in found  # only buckets can be read
    assert {step for step, _ in found} == set(STEPS)


def test_the_link_leads_to_the_run_in_the_console(server: VertexServer) -> None:
    assert connect(server).link("mnist-1") == (
        "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs/mnist-1?project=my-project"
    )


def test_a_run_is_cancelled_and_an_ended_one_is_left_alone(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    platform.submit(job, name="mnist-1")
    platform.read_run("mnist-1")
    platform.cancel("mnist-1")
    assert server.jobs["mnist-1"].state.name == "PIPELINE_STATE_CANCELLING"
    assert follow(platform, "mnist-1")[-1].state is State.CANCELLED
    platform.cancel("mnist-1")
    assert server.jobs["mnist-1"].state.name == "PIPELINE_STATE_CANCELLED"


def test_a_run_that_does_not_exist_is_named(server: VertexServer) -> None:
    platform = connect(server)
    words = r"could not read the run mnist-9: it answered 404 NOT_FOUND \(pipelineJobs .*mnist-9 does not exist.\)"
    with pytest.raises(MissingError, match=words):
        platform.read_run("mnist-9")
    with pytest.raises(MissingError, match="could not cancel the run mnist-9"):
        platform.cancel("mnist-9")


def test_the_name_of_somebody_elses_run_is_refused(server: VertexServer, job: Job) -> None:
    connect(server, labels={"team": "theirs"}).submit(job, name="mnist-1")
    with pytest.raises(ConflictError, match="could not start the run mnist-1: it answered 409 ALREADY_EXISTS"):
        connect(server).submit(job, name="mnist-1")
    assert server.jobs["mnist-1"].labels["team"] == "theirs"


def test_what_vertex_ai_does_not_take_is_explained_in_its_words(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    wrong = Job(job.documents, {**job.parameters, "epochs": "many"})
    with pytest.raises(PlatformError, match=r"INVALID_ARGUMENT.*Invalid type of value for the input parameter epochs"):
        platform.submit(wrong, name="mnist-1")
    assert not server.jobs


def test_a_file_of_two_documents_is_refused_before_anything_is_sent(server: VertexServer, job: Job) -> None:
    words = "The compiled pipeline has 2 YAML documents; expected one, since Vertex AI does not support"
    with pytest.raises(SettingError, match=words):
        connect(server).submit(Job((*job.documents, {"platforms": {}}), {}), name="mnist-1")
    assert not server.jobs


@pytest.mark.parametrize(
    "keys",
    [{}, {"accelerator": "NVIDIA_L4"}, {"machine_type": "g2-standard-8", "accelerator": "NVIDIA_L4", "spot": True}],
    ids=["cpu", "gpu", "spot"],
)
def test_every_kind_of_machine_compiles_to_what_vertex_ai_takes(server: VertexServer, keys: Mapping[str, Any]) -> None:
    platform = connect(server, **keys)
    platform.submit(make_job(**keys), name="mnist-1")
    assert [task.name for task in follow(platform, "mnist-1")[-1].tasks] == list(STEPS)


def test_the_request_is_what_googles_sdk_builds_of_the_same_file(job: Job, tmp_path: Path) -> None:
    from google.cloud import aiplatform

    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(dict(job.documents[0])), encoding="utf-8")
    theirs = aiplatform.PipelineJob(
        display_name="mnist-1",
        job_id="mnist-1",
        template_path=str(tmp_path / "pipeline.yaml"),
        pipeline_root="gs://bucket/root",
        parameter_values=dict(job.parameters),
        labels=FULL["labels"],
        encryption_spec_key_name=KEY,
        project="my-project",
        location="europe-west4",
        credentials=AnonymousCredentials(),
    )
    ours = build_request(make_profile(**FULL), job, "mnist-1")
    expected = CreatePipelineJobRequest(
        parent="projects/my-project/locations/europe-west4",
        pipeline_job=theirs._gca_resource,
        pipeline_job_id=theirs.job_id,
    )
    # The SDK adds these when it submits.
    expected.pipeline_job.service_account, expected.pipeline_job.network = ACCOUNT, NETWORK
    assert CreatePipelineJobRequest.to_dict(ours) == CreatePipelineJobRequest.to_dict(expected)
    assert ours == expected
