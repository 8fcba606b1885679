"""Add a run to its experiment in Vertex ML Metadata, as `PipelineJob.submit` of Google's SDK does."""

import time

from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
from google.cloud.aiplatform_v1.types import (
    AddContextChildrenRequest,
    Context,
    CreateContextRequest,
    GetContextRequest,
    GetPipelineJobRequest,
)

from components.mnist.progress import say
from pipelines.platforms.base import ConflictError, MissingError, PlatformError, TransientError
from pipelines.platforms.vertex.connection import Connection

SCHEMA = "system.Experiment"
SCHEMA_VERSION = "0.0.1"
TENSORBOARD_ONLY = "tensorboard_link"  # in the metadata of a CustomJob's experiment
CONTEXT_SECONDS = 30.0  # Vertex AI adds a run to its metadata some seconds after the start
POLL_SECONDS = 1.0


def add_to_experiment(connection: Connection, run_name: str, experiment: str) -> None:
    """Add a run to an experiment; create the experiment if it is missing. A failure is reported; the run continues.

    Args:
        run_name: The resource name of the run.
    """
    try:
        run = _wait_for_context(connection, run_name)  # first: a project's first run creates the metadata store
        context = _ensure_experiment(connection, experiment)
        request = AddContextChildrenRequest(context=context, child_contexts=[run])
        asked = f"add the run to the experiment {experiment}"
        connection.ask(connection.metadata.add_context_children, request, asked=asked)
    except PlatformError as error:
        say(f"The run continues, but is not shown in the experiment {experiment}: {error}")


def _wait_for_context(connection: Connection, run_name: str) -> str:
    """Wait for the run's context and return its resource name."""
    request, asked = GetPipelineJobRequest(name=run_name), f"find {run_name} in its metadata"
    deadline = time.monotonic() + CONTEXT_SECONDS
    while True:
        job = connection.ask(connection.pipelines.get_pipeline_job, request, asked=asked)
        if name := job.job_detail.pipeline_run_context.name:
            return name
        if time.monotonic() > deadline:
            raise TransientError(f"Vertex AI did not add the run to its metadata within {CONTEXT_SECONDS:g} seconds.")
        time.sleep(POLL_SECONDS)


def _ensure_experiment(connection: Connection, experiment: str) -> str:
    """Return the resource name of the experiment's context; create it if it is missing."""
    profile, metadata = connection.profile, connection.metadata
    name = MetadataServiceClient.context_path(profile.project, profile.region, "default", experiment)
    new = CreateContextRequest(
        parent=name.partition("/contexts/")[0],
        context=Context(
            display_name=experiment,
            schema_title=SCHEMA,
            schema_version=SCHEMA_VERSION,
            metadata={"experiment_deleted": False},
        ),
        context_id=experiment,
    )

    def find() -> Context:
        return connection.ask(metadata.get_context, GetContextRequest(name=name), asked=f"find the experiment {name}")

    try:
        context = find()
    except MissingError:
        try:
            context = connection.ask(metadata.create_context, new, asked=f"create the experiment {experiment}")
        except ConflictError:  # created by others, or by an earlier try whose answer was lost
            context = find()
    if context.schema_title != SCHEMA or TENSORBOARD_ONLY in context.metadata:
        raise ConflictError(
            f"{experiment} is the name of something else in the metadata ({context.schema_title}); expected an "
            "experiment. Choose another name for the experiment."
        )
    return context.name
