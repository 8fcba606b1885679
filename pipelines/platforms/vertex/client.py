"""Vertex AI Pipelines: the `PlatformClient` of a profile (`pipelines/platforms/base.py`)."""

import contextlib
import secrets

from google.cloud.aiplatform_v1.types import (
    CancelPipelineJobRequest,
    CreatePipelineJobRequest,
    GetPipelineJobRequest,
    PipelineJob,
)

from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms import retrying
from pipelines.platforms.base import ConflictError, Existing, Mark, MissingError, PlatformError, RunState
from pipelines.platforms.vertex import runs
from pipelines.platforms.vertex.connection import Connection
from pipelines.platforms.vertex.experiments import add_to_experiment
from pipelines.platforms.vertex.profile import VertexProfile
from pipelines.platforms.vertex.requests import (
    REQUEST_LABEL,
    build_request,
    build_request_again,
    build_schedule,
)
from pipelines.platforms.vertex.schedules import Schedules, read_existing
from pipelines.profiles import Schedule


class Vertex:
    """A profile's project and region on Vertex AI; its methods are those of `PlatformClient`."""

    def __init__(self, profile: VertexProfile) -> None:
        self._profile = profile
        self._connection = Connection(profile)
        self._pipelines = self._connection.pipelines
        self._schedules = Schedules(self._connection)

    def submit(self, job: Job, *, name: str) -> str:
        """Start a run and return its id, which is its name."""
        return self._start(build_request(self._profile, job, name))

    def link(self, run_id: str) -> str:
        """The page of a run in Google's console."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self._profile.region}/pipelines/runs/{run_id}"
            f"?project={self._profile.project}"
        )

    def read_run(self, run_id: str) -> RunState:
        """Where a run is now."""
        return runs.read_state(self._read(run_id))

    def cancel(self, run_id: str) -> None:
        """Ask a run to end; one that has ended already is left as it is."""
        request = CancelPipelineJobRequest(name=self._name(run_id))
        try:
            self._connection.ask(self._pipelines.cancel_pipeline_job, request, asked=f"cancel the run {run_id}")
        except ConflictError:
            if not self.read_run(run_id).state.is_final:
                raise

    def find_artifacts(self, run_id: str) -> dict[tuple[str, str], str]:
        """Where the artifacts of a run lie: a gs:// address by step and output."""
        return runs.read_artifacts(self._read(run_id))

    def check_schedule(self, schedule: Schedule) -> None:
        """Refuse with SettingError a cron expression or a time zone that Vertex AI can't do.

        It knows every time zone of the IANA database, and the numbers of runs that a profile may ask for.
        """
        cron.read_zone(schedule.time_zone)
        cron.normalise(schedule.cron)

    def list_schedules(self) -> list[Existing]:
        """Every schedule in this project and region."""
        return [read_existing(schedule) for schedule in self._schedules.read_all()]

    def create_schedule(self, schedule: Schedule, job: Job, mark: Mark) -> Existing:
        """Make a schedule, paused where `schedule.paused` is true.

        Vertex AI makes schedules active and pauses them afterwards; one that could not be paused is removed again.
        """
        made = self._schedules.create(build_schedule(self._profile, schedule, job, mark), _new_token())
        id = read_existing(made).id
        if schedule.paused:
            try:
                self._schedules.pause(id)
            except PlatformError as error:
                self._undo(id, error)
                raise
            made = self._schedules.read(id)
        return read_existing(made)

    def pause_schedule(self, id: str) -> None:
        """Let it fire nothing until it is resumed."""
        self._schedules.pause(id)

    def resume_schedule(self, id: str) -> None:
        """Let it fire again; times that it missed while it was paused are not made up for."""
        self._schedules.resume(id)

    def delete_schedule(self, id: str) -> None:
        """Remove it; one that is gone already is no trouble. Runs that it started go on."""
        self._schedules.delete(id)

    def run_schedule(self, id: str, *, name: str) -> str:
        """Start a run now with the pipeline and parameters that the schedule has, and return the run's id."""
        schedule = self._schedules.read(id)
        if "create_pipeline_job_request" not in schedule:
            raise ConflictError(f"The schedule {id} ({schedule.display_name}) starts something else than a pipeline.")
        return self._start(build_request_again(self._profile, schedule.create_pipeline_job_request, name))

    def _start(self, request: CreatePipelineJobRequest) -> str:
        token = _new_token()
        request.pipeline_job.labels[REQUEST_LABEL] = token
        name = request.pipeline_job_id

        def make() -> PipelineJob:
            asked = f"start the run {name}"
            try:
                return self._connection.send(self._pipelines.create_pipeline_job, request, asked=asked)
            except ConflictError:
                # The id is taken: by an earlier try of ours whose answer was lost, or by somebody else.
                if found := find():
                    return found
                raise

        def find() -> PipelineJob | None:
            with contextlib.suppress(MissingError):
                job = self._read(name)
                return job if job.labels.get(REQUEST_LABEL) == token else None
            return None

        job = retrying.create(make, find)
        if self._profile.experiment:
            add_to_experiment(self._connection, job.name, self._profile.experiment)
        return name

    def _read(self, run_id: str) -> PipelineJob:
        request = GetPipelineJobRequest(name=self._name(run_id))
        return self._connection.ask(self._pipelines.get_pipeline_job, request, asked=f"read the run {run_id}")

    def _name(self, run_id: str) -> str:
        return f"{self._connection.parent}/pipelineJobs/{run_id}"

    def _undo(self, id: str, error: PlatformError) -> None:
        try:
            self._schedules.delete(id)
        except PlatformError as second:
            raise PlatformError(
                f"{error} The schedule {id} is there and fires, since it could not be removed either: {second}"
            ) from error


def _new_token() -> str:
    return secrets.token_hex(8)
