"""Put a run under its experiment in Vertex ML Metadata, as `PipelineJob.submit` of Google's SDK does."""

import time

from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
from google.cloud.aiplatform_v1.types import (
    AddContextChildrenRequest,
    Context,
    CreateContextRequest,
    GetContextRequest,
    GetPipelineJobRequest,
)
from google.protobuf import json_format, struct_pb2

from components.mnist.progress import say
from pipelines.platforms.base import ConflictError, MissingError, PlatformError, TransientError
from pipelines.platforms.vertex.connection import Connection

SCHEMA = "system.Experiment"
SCHEMA_VERSION = "0.0.1"
TENSORBOARD_ONLY = "tensorboard_link"  # in the metadata of an experiment that belongs to a CustomJob
CONTEXT_SECONDS = 30.0  # Vertex AI enters a run into its metadata some seconds after it was started
POLL_SECONDS = 1.0


def add_to_experiment(connection: Connection, run_name: str, experiment: str) -> None:
    """Add a run to an experiment, which is made where it is missing. A failure is said, and the run goes on.

    Args:
        run_name: Its resource name.
    """
    try:
        run = _wait_for_context(connection, run_name)  # first: a project's first run makes the metadata store
        request = AddContextChildrenRequest(context=_ensure(connection, experiment), child_contexts=[run])
        connection.ask(
            connection.metadata.add_context_children, request, asked=f"add the run to the experiment {experiment}"
        )
    except PlatformError as error:
        say(f"The run goes on, but is not shown in the experiment {experiment}: {error}")


def _wait_for_context(connection: Connection, run_name: str) -> str:
    asked = f"find {run_name} in its metadata"
    deadline = time.monotonic() + CONTEXT_SECONDS
    while True:
        job = connection.ask(connection.pipelines.get_pipeline_job, GetPipelineJobRequest(name=run_name), asked=asked)
        if name := job.job_detail.pipeline_run_context.name:
            return name
        if time.monotonic() > deadline:
            raise TransientError(
                f"Vertex AI did not enter the run into its metadata within {CONTEXT_SECONDS:g} seconds."
            )
        time.sleep(POLL_SECONDS)


def _ensure(connection: Connection, experiment: str) -> str:
    """Return the resource name of an experiment."""
    name = MetadataServiceClient.context_path(
        connection.profile.project, connection.profile.region, "default", experiment
    )
    try:
        context = _find(connection, name)
    except MissingError:
        context = _make(connection, name, experiment)
    if context.schema_title != SCHEMA or TENSORBOARD_ONLY in context.metadata:
        raise ConflictError(
            f"{experiment} is the name of something else in the metadata ({context.schema_title}); expected an "
            "experiment. Choose another name for the experiment."
        )
    return context.name


def _find(connection: Connection, name: str) -> Context:
    return connection.ask(
        connection.metadata.get_context, GetContextRequest(name=name), asked=f"find the experiment {name}"
    )


def _make(connection: Connection, name: str, experiment: str) -> Context:
    request = CreateContextRequest(
        parent=name.partition("/contexts/")[0],
        context=Context(
            display_name=experiment,
            schema_title=SCHEMA,
            schema_version=SCHEMA_VERSION,
            metadata=json_format.ParseDict({"experiment_deleted": False}, struct_pb2.Struct()),
        ),
        context_id=experiment,
    )
    try:
        return connection.ask(connection.metadata.create_context, request, asked=f"make the experiment {experiment}")
    except ConflictError:  # somebody else's, or of an earlier try whose answer was lost
        return _find(connection, name)
