"""The played Vertex AI refuses what the real one would: one that takes everything would prove nothing."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import (
    CreatePipelineJobRequest,
    CreateScheduleRequest,
    GetPipelineJobRequest,
    ListSchedulesRequest,
)

from pipelines.compilation import Job
from pipelines.platforms.base import Mark, PlatformError, SignInError
from pipelines.platforms.vertex.connection import Connection
from pipelines.platforms.vertex.requests import build_request, build_schedule
from pipelines.profiles import Schedule
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.test_profiles import vertex as make_profile
from tests.pipelines.platforms.vertex.clients import KEY

UNKNOWN_FIELD = b"\xb8\x3e\x01"  # number 999, a one


@pytest.fixture(scope="module")
def connection(shared_server: VertexServer) -> Connection:
    return Connection(make_profile(endpoint=shared_server.endpoint))


def refuse(
    connection: Connection, server: VertexServer, request: CreatePipelineJobRequest | CreateScheduleRequest
) -> str:
    """Send a request that is to be refused, and return the message."""
    is_run = isinstance(request, CreatePipelineJobRequest)
    method: Any = connection.pipelines.create_pipeline_job if is_run else connection.schedules.create_schedule
    with pytest.raises(PlatformError) as refused:
        connection.send(method, request, asked="make it")
    assert not server.jobs
    assert not server.schedules
    return str(refused.value)


def change_spec(change: Callable[[dict[str, Any]], object]) -> Callable[[CreatePipelineJobRequest], None]:
    def apply(request: CreatePipelineJobRequest) -> None:
        spec = type(request.pipeline_job).to_dict(request.pipeline_job)["pipeline_spec"]
        change(spec)
        request.pipeline_job.pipeline_spec = spec

    return apply


def change_value(name: str, value: object) -> Callable[[CreatePipelineJobRequest], None]:
    return lambda request: request.pipeline_job.runtime_config.parameter_values.update({name: value})


def require_seed(request: CreatePipelineJobRequest) -> None:
    """Make a parameter required, and leave it out."""
    del request.pipeline_job.runtime_config.parameter_values["seed"]
    change_spec(lambda spec: spec["root"]["inputDefinitions"]["parameters"]["seed"].clear())(request)
    change_spec(
        lambda spec: spec["root"]["inputDefinitions"]["parameters"]["seed"].update(parameterType="NUMBER_INTEGER")
    )(request)


def add_unknown(request: CreatePipelineJobRequest) -> None:
    CreatePipelineJobRequest.pb(request).pipeline_job.runtime_config.MergeFromString(UNKNOWN_FIELD)


def set_field(path: str, value: object) -> Callable[[CreatePipelineJobRequest], None]:
    def apply(request: CreatePipelineJobRequest) -> None:
        target: Any = request
        *parents, last = path.split(".")
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)

    return apply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_unknown, "RuntimeConfig has unknown fields."),
        (set_field("parent", "projects/my-project/locations/us-central1"), "Location 'us-central1' is not that of"),
        (
            set_field("parent", "projects/nobodys/locations/europe-west4"),
            "Permission denied on resource project nobodys",
        ),
        (set_field("pipeline_job_id", "Mnist_1"), "Invalid pipeline_job_id 'Mnist_1'."),
        (set_field("pipeline_job.display_name", "x" * 129), "display_name is longer than 128 characters."),
        (set_field("pipeline_job.labels", {"Team": "vision"}), "Invalid label Team=vision."),
        (set_field("pipeline_job.labels", {f"l{number}": "" for number in range(65)}), "More than 64 labels."),
        (set_field("pipeline_job.service_account", "me"), "Invalid service account me."),
        (set_field("pipeline_job.network", "default"), "Invalid network default."),
        (
            set_field("pipeline_job.encryption_spec.kms_key_name", KEY.replace("europe-west4", "us-west1")),
            "Invalid encryption key",
        ),
        (set_field("pipeline_job.runtime_config.gcs_output_directory", ""), "Invalid gcs_output_directory ''."),
        (change_value("epoch", 3), "The pipeline parameter epoch is not found"),
        (change_value("epochs", 2.5), "Invalid type of value for the input parameter epochs."),
        (change_value("require_gpu", "true"), "Invalid type of value for the input parameter require_gpu."),
        (change_spec(lambda spec: spec.update(surprise=1)), "Failed to parse pipeline_spec"),
        (change_spec(lambda spec: spec.update(schemaVersion="2.2.0")), "Unsupported schema version '2.2.0'."),
        (change_spec(lambda spec: spec["components"].pop("comp-train")), "Task train refers to a component that"),
        (
            change_spec(lambda spec: spec["deploymentSpec"]["executors"].pop("exec-train")),
            "Task train has no executor.",
        ),
        (
            change_spec(lambda spec: spec["deploymentSpec"]["executors"]["exec-train"]["container"].pop("image")),
            "Task train has no image.",
        ),
        (require_seed, "The input parameter seed is not provided."),
    ],
)
def test_a_run_that_vertex_ai_would_not_take_is_refused(
    server: VertexServer,
    connection: Connection,
    job: Job,
    change: Callable[[CreatePipelineJobRequest], None],
    words: str,
) -> None:
    request = build_request(make_profile(), job, "mnist-1")
    change(request)
    assert words in refuse(connection, server, request)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"cron": "TZ=Europe/Berlim 0 6 * * *"}, "no time zone Europe/Berlim"),
        ({"cron": "0 0 6 * * *"}, "Invalid cron '0 0 6 * * *'"),
        ({"cron": "61 6 * * *"}, "Invalid cron '61 6 * * *'"),
        ({"display_name": ""}, "display_name is required."),
        ({"max_concurrent_run_count": 0}, "max_concurrent_run_count is required."),
        ({"create_pipeline_job_request": None}, "Exactly one request is required."),
        ({"start_time": datetime.now(UTC) - timedelta(days=1)}, "start_time is in the past."),
        ({"end_time": datetime.now(UTC) - timedelta(days=1)}, "end_time must be later than start_time."),
    ],
)
def test_a_schedule_that_vertex_ai_would_not_take_is_refused(
    server: VertexServer, connection: Connection, job: Job, keys: dict[str, Any], words: str
) -> None:
    weekly = Schedule(name="weekly", cron="0 6 * * 1")
    schedule = build_schedule(make_profile(), weekly, job, Mark("cloud", "weekly", "abc"))
    for key, value in keys.items():
        setattr(schedule, key, value)
    request = CreateScheduleRequest(parent=connection.profile.parent, schedule=schedule)
    assert words in refuse(connection, server, request)


def test_a_call_without_a_good_token_is_refused(vertex_server: VertexServer) -> None:
    connection = Connection(make_profile(endpoint=vertex_server.endpoint))
    request = ListSchedulesRequest(parent=connection.profile.parent)
    connection.send(connection.schedules.list_schedules, request, asked="list")
    vertex_server.sign_in.tokens.clear()
    with pytest.raises(SignInError, match="Request had invalid authentication credentials"):
        connection.send(connection.schedules.list_schedules, request, asked="list")


def test_a_name_of_another_form_is_refused(server: VertexServer, connection: Connection) -> None:
    request = GetPipelineJobRequest(name=f"{connection.profile.parent}/pipelineJobs/a/b")
    with pytest.raises(PlatformError, match=re.escape("Invalid resource name")):
        connection.send(connection.pipelines.get_pipeline_job, request, asked="read it")


def test_an_unknown_fault_is_refused(server: VertexServer) -> None:
    with pytest.raises(ValueError, match="flood: no such fault"):
        server.fail("GetPipelineJob", "flood")
    with pytest.raises(ValueError, match="GetPipeline: no such method"):
        server.fail("GetPipeline", "cut")
