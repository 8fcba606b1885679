"""Build the messages that start a run or create a schedule on Vertex AI. Pure: nothing is sent from here."""

from collections.abc import Mapping
from dataclasses import astuple
from datetime import UTC, datetime

from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, EncryptionSpec, PipelineJob
from google.cloud.aiplatform_v1.types import Schedule as VertexSchedule
from google.protobuf import json_format, struct_pb2

from components.mnist.errors import SettingError
from pipelines import cron, training
from pipelines.compilation import Job
from pipelines.platforms.base import Mark
from pipelines.platforms.vertex.profile import VertexProfile
from pipelines.profiles import Schedule

MARK_LABELS = ("mnist-profile", "mnist-schedule", "mnist-content")  # for the fields of a Mark, in this order
# Distinguishes the creations of two commands under the same name, if an answer was lost.
REQUEST_LABEL = "mnist-request"
CODE_LABEL = "mnist-code"


def build_request(profile: VertexProfile, job: Job, name: str) -> CreatePipelineJobRequest:
    """Build the request that starts a run.

    Args:
        name: Becomes the run's id, so that one request cannot start two runs.

    Raises:
        SettingError: Vertex AI does not support the compiled pipeline.
    """
    return CreatePipelineJobRequest(
        parent=profile.parent, pipeline_job=_build_job(profile, job, profile.labels, name), pipeline_job_id=name
    )


def build_schedule(profile: VertexProfile, schedule: Schedule, job: Job, mark: Mark) -> VertexSchedule:
    """Build a schedule; the mark becomes labels of its runs, since schedules have no labels.

    Raises:
        SettingError: The cron expression or the time zone is refused, or the end has passed.
    """
    start, end = (
        cron.in_zone(moment, schedule.time_zone).astimezone(UTC) if moment else None
        for moment in (schedule.start, schedule.end)
    )
    now = datetime.now(UTC)
    if end and end <= now:
        raise SettingError(
            f"schedule {schedule.name}: its end, {end:%Y-%m-%d %H:%M} UTC, has passed, so it would never fire. Move "
            "the end, or remove the schedule from the profile."
        )
    title = f"{training.NAME}-{mark.profile}-{mark.name}"
    labels = {**profile.labels, **dict(zip(MARK_LABELS, astuple(mark), strict=True))}
    return VertexSchedule(
        display_name=title,
        cron=f"TZ={schedule.time_zone} {cron.normalise(schedule.cron)}",
        # Left out if it is in the past, which Vertex AI refuses.
        start_time=start if start and start > now else None,
        end_time=end,
        # The first limits calls that start runs, the second active runs.
        max_concurrent_run_count=schedule.max_concurrency,
        max_concurrent_active_run_count=schedule.max_concurrency,
        allow_queueing=False,
        create_pipeline_job_request=CreatePipelineJobRequest(
            parent=profile.parent, pipeline_job=_build_job(profile, job, labels, title)
        ),
    )


def _build_job(profile: VertexProfile, job: Job, labels: Mapping[str, str], title: str) -> PipelineJob:
    if len(job.documents) != 1:
        raise SettingError(
            f"The compiled pipeline has {len(job.documents)} YAML documents; expected one, since Vertex AI does not "
            'support platform settings of Kubeflow. Compile it for a profile with platform = "vertex".'
        )
    return PipelineJob(
        display_name=title,
        pipeline_spec=json_format.ParseDict(job.documents[0], struct_pb2.Struct()),
        runtime_config=PipelineJob.RuntimeConfig(
            gcs_output_directory=profile.pipeline_root, parameter_values=dict(job.parameters)
        ),
        service_account=profile.service_account,
        network=profile.network,
        encryption_spec=EncryptionSpec(kms_key_name=profile.encryption_key) if profile.encryption_key else None,
        labels={**labels, **({CODE_LABEL: job.code} if job.code else {})},
    )
