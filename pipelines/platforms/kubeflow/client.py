"""Kubeflow Pipelines: the `PlatformClient` of a profile (`pipelines/platforms/base.py`)."""

import contextlib
from typing import Any

import kfp_server_api

from components.mnist.storage import gs
from pipelines.compilation import Job
from pipelines.platforms import retrying
from pipelines.platforms.base import ConflictError, Existing, Mark, MissingError, PlatformError, RunState, State
from pipelines.platforms.kubeflow import runs, schedules
from pipelines.platforms.kubeflow.connection import Connection
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.workflow import read_workflow
from pipelines.profiles import Schedule
from pipelines.training import NAME

EXTRAS_SECONDS = 10.0  # for optional details, not worth a long wait


class Kubeflow:
    """A profile's namespace on Kubeflow Pipelines: the methods of `PlatformClient`, and one for `mnist doctor`."""

    def __init__(self, profile: KubeflowProfile) -> None:
        self._profile = profile
        self.connection = Connection(profile)
        self._runs = self.connection.runs
        self._recurring_runs = self.connection.recurring_runs
        # Left out of requests if there is none: Kubeflow Pipelines without profiles refuses any namespace.
        self._scope = {"namespace": profile.namespace} if profile.namespace else {}

    def submit(self, job: Job, *, name: str) -> str:
        """Start a run and return its id."""
        described = runs.describe(self._profile, job, self._ensure_experiment())
        return self._start(name, {**described, "description": f"code {job.code}" if job.code else None})

    def link(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self._profile.host}/#/runs/details/{run_id}"

    def read_run(self, run_id: str) -> RunState:
        """Read the state of a run and of its steps."""
        run = self._get_run(run_id)
        state = runs.read_run(run)
        if not state.state.is_final and not any(task.state is State.FAILED for task in state.tasks):
            return state
        # Argo reports more details, if the server still has the older API.
        path, asked = f"/apis/v1beta1/runs/{run_id}", f"read the workflow of the run {run_id}"
        with contextlib.suppress(PlatformError):
            found = retrying.call(lambda: self.connection.read(path, asked=asked), give_up_seconds=EXTRAS_SECONDS)
            return runs.read_run(run, read_workflow(found))
        return state

    def cancel(self, run_id: str) -> None:
        """Request the cancellation of a run; one that has already ended is left unchanged."""
        if runs.is_ending(self._get_run(run_id)):
            return
        try:
            self.connection.ask(self._runs.run_service_terminate_run, run_id, asked=f"cancel the run {run_id}")
        except PlatformError:
            # Refused if the run has ended meanwhile, or was cancelled by an earlier try whose answer was lost.
            with contextlib.suppress(PlatformError):
                if runs.is_ending(self._get_run(run_id)):
                    return
            raise

    def find_artifacts(self, run_id: str) -> dict[tuple[str, str], str]:
        """Find the artifacts of a run in its bucket; none if they are in the cluster's own storage.

        The API lists no artifacts of a run (v2beta1), or all but the metrics (v1beta1).
        """
        config = self._get_run(run_id).runtime_config
        root = (config and config.pipeline_root) or ""
        if not root.startswith("gs://"):
            return {}
        folder = f"{root.rstrip('/')}/{NAME}/{run_id}"
        return runs.read_artifacts(folder, gs.list_objects(f"{folder}/"))

    def check_schedule(self, schedule: Schedule) -> None:
        """Raise SettingError for a time zone or cron expression that Kubeflow Pipelines does not support."""
        schedules.check(self._profile, schedule)

    def list_schedules(self) -> list[Existing]:
        """List all schedules of the namespace, in all experiments; of the whole server if it has no namespaces."""
        found = retrying.call(self._list_schedules)
        return [schedules.read_existing(self._profile, each) for each in found]

    def create_schedule(self, schedule: Schedule, job: Job, mark: Mark) -> Existing:
        """Create a schedule, paused from the start if `schedule.paused` is true."""
        self.check_schedule(schedule)
        request = schedules.build(self._profile, schedule, job, mark, self._ensure_experiment())
        return schedules.read_existing(self._profile, self._create_schedule(request, besides=""))

    def pause_schedule(self, id: str) -> None:
        """Stop a schedule from starting runs until it is resumed."""
        method = self._recurring_runs.recurring_run_service_disable_recurring_run
        self.connection.ask(method, id, asked=f"pause the schedule {id}")

    def resume_schedule(self, id: str) -> None:
        """Let a schedule start runs again. One with missed times is replaced: enabled, it would run the last one."""
        recurring_run = self._get_schedule(id)
        existing = schedules.read_existing(self._profile, recurring_run)
        if existing.paused and not existing.ended and schedules.has_missed(self._profile, recurring_run):
            self._create_schedule(schedules.build_again(recurring_run), besides=id)
            self.delete_schedule(id)
            return
        method = self._recurring_runs.recurring_run_service_enable_recurring_run
        self.connection.ask(method, id, asked=f"resume the schedule {id}")

    def delete_schedule(self, id: str) -> None:
        """Delete a schedule; a missing one is no error. The runs that it started continue."""
        method = self._recurring_runs.recurring_run_service_delete_recurring_run
        with contextlib.suppress(MissingError):
            self.connection.ask(method, id, asked=f"delete the schedule {id}")

    def run_schedule(self, id: str, *, name: str) -> str:
        """Start a run now with the schedule's pipeline and parameters, and return the run's id."""
        return self._start(name, runs.describe_again(self._get_schedule(id)))

    def find_experiment(self) -> Any:
        """Find the profile's experiment, without retrying; None if it is missing.

        Raises:
            ConflictError: It is archived, and so accepts no runs.
        """
        method, name = self.connection.experiments.experiment_service_list_experiments, self._profile.experiment
        asked = f"find the experiment {name}"
        found = self.connection.read_all(method, "experiments", asked=asked, name=name, **self._scope)
        if found and found[0].storage_state == "ARCHIVED":
            page = f"{self._profile.host}/#/archive/experiments"
            advice = f"Restore it: {page}; or name another experiment in the profile."
            raise ConflictError(f"The experiment {name} is archived. {advice}")
        return found[0] if found else None

    def _start(self, name: str, described: dict[str, Any]) -> str:
        run = kfp_server_api.V2beta1Run(display_name=name, **described)

        def make() -> str:
            method = self._runs.run_service_create_run
            return str(self.connection.send(method, run, asked=f"start the run {name}", creates=True).run_id)

        def find() -> str | None:
            query = {"name": name, "experiment_id": run.experiment_id}
            method = self._runs.run_service_list_runs
            found = self.connection.read_all(method, "runs", asked=f"find the run {name}", **query)
            return str(found[0].run_id) if found else None

        return retrying.create(make, find)

    def _create_schedule(self, request: kfp_server_api.V2beta1RecurringRun, *, besides: str) -> Any:
        """Create a recurring run once, identified by its description; `besides` is the id of one to ignore."""

        def make() -> Any:
            method = self._recurring_runs.recurring_run_service_create_recurring_run
            asked = f"create the schedule {request.display_name}"
            return self.connection.send(method, request, asked=asked, creates=True)

        def find() -> Any:
            found = self._list_schedules(name=request.display_name)
            others = (each for each in found if each.recurring_run_id != besides)
            return next((each for each in others if each.description == request.description), None)

        return retrying.create(make, find)

    def _list_schedules(self, name: str = "") -> list[Any]:
        method = self._recurring_runs.recurring_run_service_list_recurring_runs
        return self.connection.read_all(method, "recurring_runs", asked="list its schedules", name=name, **self._scope)

    def _ensure_experiment(self) -> str:
        """Return the id of the profile's experiment; create it if it is missing."""
        name = self._profile.experiment

        def make() -> Any:
            request = kfp_server_api.V2beta1Experiment(display_name=name, **self._scope)
            method = self.connection.experiments.experiment_service_create_experiment
            try:
                return self.connection.send(method, request, asked=f"create the experiment {name}", creates=True)
            except ConflictError:
                # Created by others meanwhile.
                if found := self.find_experiment():
                    return found
                raise

        experiment = retrying.call(self.find_experiment) or retrying.create(make, self.find_experiment)
        return str(experiment.experiment_id)

    def _get_run(self, run_id: str) -> Any:
        return self.connection.ask(self._runs.run_service_get_run, run_id, asked=f"read the run {run_id}")

    def _get_schedule(self, id: str) -> Any:
        method = self._recurring_runs.recurring_run_service_get_recurring_run
        return self.connection.ask(method, id, asked=f"read the schedule {id}")
