"""Vertex AI Pipelines: the `PlatformClient` of a profile (`pipelines/platforms/base.py`).

It calls the generated clients of `aiplatform_v1`, not `aiplatform.PipelineJob` and `PipelineJobSchedule`. Tests against
the simulated server showed that those never retry, so that a transient error starts no run and a lost answer leaves an
unknown schedule; cancelling, pausing and deleting have no deadline; `submit` creates a missing bucket for artifacts;
endpoint and sign-in are global to the process; the pipeline must be a file; and the import takes a second longer. They
would only save building the message in `requests.py`, which a test compares with theirs.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, PipelineJob
from google.cloud.aiplatform_v1.types import Schedule as VertexSchedule
from google.longrunning import operations_pb2

from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms import retrying
from pipelines.platforms.base import (
    ConflictError,
    Existing,
    Mark,
    MissingError,
    PlatformError,
    RunState,
    TransientError,
)
from pipelines.platforms.vertex import runs
from pipelines.platforms.vertex.connection import Connection
from pipelines.platforms.vertex.experiments import add_to_experiment
from pipelines.platforms.vertex.profile import VertexProfile
from pipelines.platforms.vertex.requests import REQUEST_LABEL, build_request, build_schedule
from pipelines.platforms.vertex.schedules import read_existing, read_labels
from pipelines.profiles import Schedule

PAGE_SIZE = 100
DELETE_SECONDS = 60.0
POLL_SECONDS = 1.0


class Vertex:
    """A profile's project and region on Vertex AI; its methods are those of `PlatformClient`."""

    def __init__(self, profile: VertexProfile) -> None:
        self._profile = profile
        self._connection = Connection(profile)
        self._pipelines, self._schedules = self._connection.pipelines, self._connection.schedules

    def submit(self, job: Job, *, name: str) -> str:
        """Start a run and return its id, which is its name."""
        return self._start(build_request(self._profile, job, name))

    def link(self, run_id: str) -> str:
        """Return the address of a run's page in Google's console."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self._profile.region}/pipelines/runs/{run_id}"
            f"?project={self._profile.project}"
        )

    def read_run(self, run_id: str) -> RunState:
        """Return the current state of a run."""
        return runs.read_state(self._read_job(run_id))

    def cancel(self, run_id: str) -> None:
        """Request the cancellation of a run; one that has already ended is left unchanged."""
        request = types.CancelPipelineJobRequest(name=f"{self._profile.parent}/pipelineJobs/{run_id}")
        try:
            self._connection.ask(self._pipelines.cancel_pipeline_job, request, asked=f"cancel the run {run_id}")
        except ConflictError:
            if not self.read_run(run_id).state.is_final:
                raise

    def find_artifacts(self, run_id: str) -> dict[tuple[str, str], str]:
        """Return the gs:// addresses of a run's artifacts, by step and output."""
        return runs.read_artifacts(self._read_job(run_id))

    def check_schedule(self, schedule: Schedule) -> None:
        """Raise SettingError for a cron expression or a time zone that Vertex AI does not support.

        It supports every time zone of the IANA database, and every max_concurrency of a profile.
        """
        cron.read_zone(schedule.time_zone)
        cron.normalise(schedule.cron)

    def list_schedules(self) -> list[Existing]:
        """List all schedules in the project and region."""
        return [read_existing(schedule) for schedule in self._read_schedules()]

    def create_schedule(self, schedule: Schedule, job: Job, mark: Mark) -> Existing:
        """Create a schedule, paused if `schedule.paused` is true.

        Vertex AI creates schedules active; one that cannot be paused afterwards is deleted again.
        """
        new, token = build_schedule(self._profile, schedule, job, mark), secrets.token_hex(8)
        new.create_pipeline_job_request.pipeline_job.labels[REQUEST_LABEL] = token
        request = types.CreateScheduleRequest(parent=self._profile.parent, schedule=new)
        asked = f"create the schedule {new.display_name}"
        made = retrying.create(
            lambda: self._connection.send(self._schedules.create_schedule, request, asked=asked),
            lambda: next(
                (found for found in self._read_schedules() if read_labels(found).get(REQUEST_LABEL) == token), None
            ),
        )
        if not schedule.paused:
            return read_existing(made)
        id = read_existing(made).id
        try:
            self.pause_schedule(id)
        except PlatformError as error:
            try:
                self.delete_schedule(id)
            except PlatformError as second:
                raise PlatformError(
                    f"{error} The schedule {id} exists and fires, since it could not be deleted either: {second}"
                ) from error
            raise
        return read_existing(self._read_schedule(id))

    def pause_schedule(self, id: str) -> None:
        """Stop a schedule from starting runs until it is resumed; a paused one stays paused."""
        request = types.PauseScheduleRequest(name=self._name_schedule(id))
        self._change(self._schedules.pause_schedule, request, f"pause the schedule {id}", VertexSchedule.State.PAUSED)

    def resume_schedule(self, id: str) -> None:
        """Let a schedule start runs again, from its next time on; an active one stays active."""
        request = types.ResumeScheduleRequest(name=self._name_schedule(id), catch_up=False)
        self._change(self._schedules.resume_schedule, request, f"resume the schedule {id}", VertexSchedule.State.ACTIVE)

    def delete_schedule(self, id: str) -> None:
        """Delete a schedule and wait for the end; a missing one is no error. The runs that it started continue."""
        request, asked = types.DeleteScheduleRequest(name=self._name_schedule(id)), f"delete the schedule {id}"
        deadline = time.monotonic() + DELETE_SECONDS
        with contextlib.suppress(MissingError):
            operation = self._connection.ask(self._schedules.delete_schedule, request, asked=asked).operation
            while not operation.done:
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"{self._profile.title} did not {asked} within {DELETE_SECONDS:g} seconds. Try again later."
                    )
                time.sleep(POLL_SECONDS)
                again = operations_pb2.GetOperationRequest(name=operation.name)
                operation = self._connection.ask(self._schedules.get_operation, again, asked=asked)
            if operation.error.code:
                raise PlatformError(f"{self._profile.title} could not {asked}: {operation.error.message}")

    def run_schedule(self, id: str, *, name: str) -> str:
        """Start a run now with the schedule's pipeline and parameters, and return the run's id."""
        schedule = self._read_schedule(id)
        if "create_pipeline_job_request" not in schedule:
            raise ConflictError(f"The schedule {id} ({schedule.display_name}) starts no pipeline, so it cannot be run.")
        job = PipelineJob(schedule.create_pipeline_job_request.pipeline_job, display_name=name)
        request = CreatePipelineJobRequest(parent=self._profile.parent, pipeline_job=job, pipeline_job_id=name)
        return self._start(request)

    def _start(self, request: CreatePipelineJobRequest) -> str:
        name, token = request.pipeline_job_id, secrets.token_hex(8)
        asked = f"start the run {name}"
        request.pipeline_job.labels[REQUEST_LABEL] = token

        def make() -> PipelineJob:
            try:
                return self._connection.send(self._pipelines.create_pipeline_job, request, asked=asked)
            except ConflictError:
                # The id is taken: by an earlier try whose answer was lost, or by others.
                if found := find():
                    return found
                raise

        def find() -> PipelineJob | None:
            with contextlib.suppress(MissingError):
                job = self._read_job(name)
                return job if job.labels.get(REQUEST_LABEL) == token else None
            return None

        job = retrying.create(make, find)
        if self._profile.experiment:
            add_to_experiment(self._connection, job.name, self._profile.experiment)
        return name

    def _read_job(self, run_id: str) -> PipelineJob:
        request = types.GetPipelineJobRequest(name=f"{self._profile.parent}/pipelineJobs/{run_id}")
        return self._connection.ask(self._pipelines.get_pipeline_job, request, asked=f"read the run {run_id}")

    def _read_schedules(self) -> list[VertexSchedule]:
        request = types.ListSchedulesRequest(parent=self._profile.parent, page_size=PAGE_SIZE)
        # All pages within one call, since pages are fetched lazily.
        return self._connection.ask(
            lambda request, **options: list(self._schedules.list_schedules(request, **options)),
            request,
            asked="list the schedules",
        )

    def _read_schedule(self, id: str) -> VertexSchedule:
        request = types.GetScheduleRequest(name=self._name_schedule(id))
        return self._connection.ask(self._schedules.get_schedule, request, asked=f"read the schedule {id}")

    def _name_schedule(self, id: str) -> str:
        return f"{self._profile.parent}/schedules/{id}"

    def _change(self, method: Callable[..., None], request: Any, asked: str, desired: int) -> None:
        try:
            self._connection.ask(method, request, asked=asked)
        except ConflictError:
            # Refused because an earlier try, whose answer was lost, has succeeded; or because the schedule has ended.
            if self._read_schedule(request.name.rpartition("/")[2]).state != desired:
                raise
