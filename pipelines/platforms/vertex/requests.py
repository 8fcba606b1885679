"""What is sent to Vertex AI to start a run or make a schedule, as Google's own messages; nothing is sent from here."""

from collections.abc import Mapping
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

PROFILE_LABEL = "mnist-profile"
SCHEDULE_LABEL = "mnist-schedule"
CONTENT_LABEL = "mnist-content"
# Tells what one command made from what another made under the same name, when an answer got lost.
REQUEST_LABEL = "mnist-request"


def build_request(profile: VertexProfile, job: Job, name: str) -> CreatePipelineJobRequest:
    """The request that starts a run.

    Args:
        name: Of the run: it becomes the run's id, so that no two runs can come of one request.

    Raises:
        SettingError: The compiled pipeline is not one that Vertex AI takes.
    """
    return CreatePipelineJobRequest(
        parent=_parent(profile), pipeline_job=_build_job(profile, job, profile.labels, name), pipeline_job_id=name
    )


def build_schedule(profile: VertexProfile, schedule: Schedule, job: Job, mark: Mark) -> VertexSchedule:
    """The schedule to make; every run of it gets the mark as labels, since schedules have no labels of their own.

    Raises:
        SettingError: The cron expression or time zone is none, or its end has passed.
    """
    labels = {**profile.labels, **labels_of(mark)}
    title = f"{training.NAME}-{mark.profile}-{mark.name}"
    return VertexSchedule(
        display_name=title,
        cron=f"TZ={schedule.time_zone} {cron.normalise(schedule.cron)}",
        start_time=_future_start(schedule),
        end_time=_future_end(schedule),
        # The first counts calls that start runs, the second the runs themselves until they end.
        max_concurrent_run_count=schedule.max_concurrency,
        max_concurrent_active_run_count=schedule.max_concurrency,
        allow_queueing=False,
        create_pipeline_job_request=CreatePipelineJobRequest(
            parent=_parent(profile), pipeline_job=_build_job(profile, job, labels, title)
        ),
    )


def build_request_again(
    profile: VertexProfile, template: CreatePipelineJobRequest, name: str
) -> CreatePipelineJobRequest:
    """The request that starts a run as a schedule would start it."""
    request = CreatePipelineJobRequest(parent=_parent(profile), pipeline_job_id=name)
    request.pipeline_job = PipelineJob(template.pipeline_job)
    request.pipeline_job.display_name = name
    return request


def labels_of(mark: Mark) -> dict[str, str]:
    """A mark as labels."""
    return {PROFILE_LABEL: mark.profile, SCHEDULE_LABEL: mark.name, CONTENT_LABEL: mark.content}


def read_mark(labels: Mapping[str, str]) -> Mark | None:
    """The mark among labels; None when they are of somebody else's."""
    # Not by KeyError: protobuf's maps answer an empty text for what they lack.
    if not all(label in labels for label in (PROFILE_LABEL, SCHEDULE_LABEL, CONTENT_LABEL)):
        return None
    return Mark(labels[PROFILE_LABEL], labels[SCHEDULE_LABEL], labels[CONTENT_LABEL])


def _parent(profile: VertexProfile) -> str:
    return f"projects/{profile.project}/locations/{profile.region}"


def _build_job(profile: VertexProfile, job: Job, labels: Mapping[str, str], title: str) -> PipelineJob:
    spec = json_format.ParseDict(_only_document(job), struct_pb2.Struct())
    return PipelineJob(
        display_name=title,
        pipeline_spec=spec,
        runtime_config=PipelineJob.RuntimeConfig(
            gcs_output_directory=profile.pipeline_root,
            parameter_values=dict(job.parameters),
        ),
        service_account=profile.service_account,
        network=profile.network,
        encryption_spec=EncryptionSpec(kms_key_name=profile.encryption_key) if profile.encryption_key else None,
        labels=dict(labels),
    )


def _only_document(job: Job) -> Mapping[str, object]:
    if len(job.documents) != 1:
        raise SettingError(
            f"The compiled pipeline has {len(job.documents)} YAML documents; expected one, since Vertex AI takes no "
            'platform settings of Kubeflow. Compile it for a profile with platform = "vertex".'
        )
    return job.documents[0]


def _future_start(schedule: Schedule) -> datetime | None:
    """A start that has passed is left out: it changes nothing any more."""
    start = _moment(schedule.start, schedule)
    return start if start and start > datetime.now(UTC) else None


def _future_end(schedule: Schedule) -> datetime | None:
    end = _moment(schedule.end, schedule)
    if end and end <= datetime.now(UTC):
        raise SettingError(
            f"schedule {schedule.name}: its end, {end:%Y-%m-%d %H:%M} UTC, has passed, so it would never fire. Move "
            "the end, or remove the schedule from the profile."
        )
    return end


def _moment(moment: datetime | None, schedule: Schedule) -> datetime | None:
    return cron.in_zone(moment, schedule.time_zone).astimezone(UTC) if moment else None
