"""What Vertex AI refuses in a request, checked at least as strictly as its documentation says."""

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import grpc
from cronsim import CronSim, CronSimError
from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, PipelineJob, Schedule
from google.protobuf import json_format, message, unknown_fields
from kfp.pipeline_spec import pipeline_spec_pb2

JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")
LABEL_KEY, LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
ACCOUNT = re.compile(r"[a-z0-9.-]+@[a-z0-9.-]+\.gserviceaccount\.com")
NETWORK = re.compile(r"projects/[0-9]+/global/networks/[a-z][a-z0-9-]*")
KEY = re.compile(r"projects/[^/]+/locations/(?P<region>[^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
CRON = re.compile(r"(?:(?:CRON_)?TZ=(?P<zone>\S+) )?(?P<fields>\S+ \S+ \S+ \S+ \S+)")
MOST_LABELS, LONGEST_TITLE = 64, 128
Type = pipeline_spec_pb2.ParameterType
IS_OF_TYPE = {
    Type.STRING: lambda value: isinstance(value, str),
    Type.BOOLEAN: lambda value: isinstance(value, bool),
    Type.NUMBER_INTEGER: lambda value: isinstance(value, float) and value.is_integer(),
    Type.NUMBER_DOUBLE: lambda value: isinstance(value, float),
    Type.LIST: lambda value: isinstance(value, list),
    Type.STRUCT: lambda value: isinstance(value, dict),
}


@dataclass
class Refusal(Exception):  # noqa: N818  (what the server answers, not a fault of the tests)
    """An answer other than success, with Google's ErrorInfo."""

    code: grpc.StatusCode
    words: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def require(condition: object, words: str) -> None:
    """Refuse the request as invalid."""
    if not condition:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, words)


def check_known(content: message.Message) -> None:
    """Refuse fields that the API does not have, at any depth."""
    require(not len(unknown_fields.UnknownFieldSet(content)), f"{content.DESCRIPTOR.full_name} has unknown fields.")
    for descriptor, value in content.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            values = value.values() if descriptor.message_type.fields_by_name["value"].message_type else ()
        else:
            values = value if descriptor.is_repeated else (value,)
        for inner in values:
            check_known(inner)


def check_job(job: PipelineJob, region: str) -> pipeline_spec_pb2.PipelineSpec:
    """Check a job that is to run, and return its pipeline spec."""
    require(len(job.display_name) <= LONGEST_TITLE, "display_name is longer than 128 characters.")
    _check_labels(job.labels)
    account, network, key = job.service_account, job.network, job.encryption_spec.kms_key_name
    require(not account or ACCOUNT.fullmatch(account), f"Invalid service account {account}.")
    require(not network or NETWORK.fullmatch(network), f"Invalid network {network}.")
    match = KEY.fullmatch(key)
    require(not key or (match and match["region"] == region), f"Invalid encryption key {key} for {region}.")
    root = job.runtime_config.gcs_output_directory
    require(re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", root), f"Invalid gcs_output_directory {root!r}.")
    require(not job.runtime_config.parameters, "parameters are of schema 2.0.0 and lower; use parameter_values.")
    spec = _check_spec(json_format.MessageToDict(PipelineJob.pb(job).pipeline_spec))
    values = json_format.MessageToDict(PipelineJob.pb(job).runtime_config).get("parameterValues", {})
    _check_parameters(spec, values)
    return spec


def _check_labels(labels: Mapping[str, str]) -> None:
    require(len(labels) <= MOST_LABELS, "More than 64 labels.")
    for key, value in labels.items():
        require(LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value), f"Invalid label {key}={value}.")


def _check_spec(content: dict[str, Any]) -> pipeline_spec_pb2.PipelineSpec:
    spec = pipeline_spec_pb2.PipelineSpec()
    try:
        json_format.ParseDict(content, spec)
    except json_format.ParseError as error:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Failed to parse pipeline_spec: {error}") from error
    require(spec.schema_version == "2.1.0", f"Unsupported schema version {spec.schema_version!r}.")
    require(JOB_ID.fullmatch(spec.pipeline_info.name), f"Invalid pipeline name {spec.pipeline_info.name!r}.")
    require(spec.root.dag.tasks, "The pipeline has no tasks.")
    executors = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec), pipeline_spec_pb2.PipelineDeploymentConfig()
    ).executors
    for name, task in spec.root.dag.tasks.items():
        component = spec.components.get(task.component_ref.name)
        require(component is not None, f"Task {name} refers to a component that is missing.")
        require(
            all(other in spec.root.dag.tasks for other in task.dependent_tasks),
            f"Task {name} waits for a task that is missing.",
        )
        label = component.executor_label
        require(label in executors, f"Task {name} has no executor.")
        require(executors[label].container.image, f"Task {name} has no image.")
    return spec


def _check_parameters(spec: pipeline_spec_pb2.PipelineSpec, values: Mapping[str, Any]) -> None:
    known = spec.root.input_definitions.parameters
    for name, value in values.items():
        require(name in known, f"The pipeline parameter {name} is not found in the pipeline job input definitions.")
        kind = known[name].parameter_type
        require(IS_OF_TYPE[kind](value), f"Invalid type of value for the input parameter {name}.")
    for name, definition in known.items():
        given = name in values or definition.HasField("default_value") or definition.is_optional
        require(given, f"The input parameter {name} is not provided.")


def check_schedule(schedule: Schedule, parent: str, region: str, now: datetime) -> None:
    """Check a schedule that is to be made."""
    require(schedule.display_name, "display_name is required.")
    require(len(schedule.display_name) <= LONGEST_TITLE, "display_name is longer than 128 characters.")
    require(schedule.max_concurrent_run_count > 0, "max_concurrent_run_count is required.")
    require("create_pipeline_job_request" in schedule, "Exactly one request is required.")
    request: CreatePipelineJobRequest = schedule.create_pipeline_job_request
    require(request.parent == parent, f"The parent of the request is {request.parent!r}; expected {parent!r}.")
    require(not request.pipeline_job_id, "Every run of a schedule would have the same pipeline_job_id.")
    check_job(request.pipeline_job, region)
    read_cron(schedule.cron, now)
    start = schedule.start_time if "start_time" in schedule else now
    require(start >= now - timedelta(seconds=1), "start_time is in the past.")
    require("end_time" not in schedule or schedule.end_time > start, "end_time must be later than start_time.")


def read_cron(cron: str, after: datetime) -> CronSim:
    """The times at which a schedule fires after a moment."""
    match = CRON.fullmatch(cron)
    require(match, f"Invalid cron {cron!r}: five fields, with or without TZ= before them.")
    name = match["zone"] or "UTC"
    require(name in zoneinfo.available_timezones(), f"Invalid cron {cron!r}: no time zone {name}.")
    try:
        return CronSim(match["fields"], after.astimezone(zoneinfo.ZoneInfo(name)))
    except CronSimError as error:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Invalid cron {cron!r}: {error}.") from error
