"""Convert jobs to Kubeflow Pipelines' runs, and its answers to the states of runs and steps.

Works on values: knows neither network nor sign-in.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import kfp_server_api

from pipelines.compilation import Job
from pipelines.platforms.base import RunState, State, TaskState
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.workflow import UNKNOWN, Workflow
from pipelines.steps import STEPS

STATES = {
    "": State.WAITING,
    "RUNTIME_STATE_UNSPECIFIED": State.WAITING,
    "PENDING": State.WAITING,
    "PAUSED": State.WAITING,
    "RUNNING": State.RUNNING,
    "CANCELING": State.RUNNING,
    "SUCCEEDED": State.SUCCEEDED,
    "SKIPPED": State.SKIPPED,
    "CACHED": State.CACHED,
    "FAILED": State.FAILED,
    "CANCELED": State.CANCELLED,
}
ENDED_EARLY = "deadline"  # in Argo's message for a step that was cancelled with its run
NEVER = datetime.fromtimestamp(0, UTC)  # Kubeflow Pipelines' value for unset times
# Fields copied to a recurring run's runs and to its replacement.
HANDED_ON = ("experiment_id", "pipeline_spec", "pipeline_version_reference", "runtime_config", "service_account")


def describe(profile: KubeflowProfile, job: Job, experiment_id: str) -> dict[str, Any]:
    """Convert a job to the fields that runs and recurring runs share."""
    pipeline: dict[str, Any] = dict(job.documents[0])
    if len(job.documents) > 1:
        # Both documents share one field.
        pipeline = {"pipeline_spec": pipeline, "platform_spec": job.documents[1]}
    config = kfp_server_api.V2beta1RuntimeConfig(parameters=dict(job.parameters), pipeline_root=profile.pipeline_root)
    return {
        "experiment_id": experiment_id,
        "pipeline_spec": pipeline,
        "runtime_config": config,
        "service_account": profile.service_account,
    }


def describe_again(recurring_run: kfp_server_api.V2beta1RecurringRun) -> dict[str, Any]:
    """Copy the fields of a recurring run's job."""
    return {field: getattr(recurring_run, field) or None for field in HANDED_ON}


def is_ending(run: kfp_server_api.V2beta1Run) -> bool:
    """Whether a run has ended or is being cancelled."""
    return run.state == "CANCELING" or _read_state(run.state).is_final


def read_run(run: kfp_server_api.V2beta1Run, workflow: Workflow = UNKNOWN) -> RunState:
    """Read the state of a run and of its steps.

    Args:
        workflow: Argo's workflow, for further details.
    """
    state = _read_state(run.state)
    if state is State.FAILED and workflow.was_terminated:
        # The server itself does not record the cancellation.
        state = State.CANCELLED
    details = (run.run_details and run.run_details.task_details) or []
    found = (_read_task(step, details, state, workflow) for step in STEPS)
    message = (_find_message(run) or workflow.message) if state is State.FAILED else ""
    return RunState(state, tuple(task for task in found if task), message)


def read_artifacts(folder: str, addresses: Iterable[str]) -> dict[tuple[str, str], str]:
    """Find a run's artifacts, by step and output, among the addresses of its objects.

    Kubeflow Pipelines writes <step>/<salt>/<output>, and before 2.4 <step>/<output>; a folder's files are below.

    Args:
        folder: The folder of the run.
    """
    found: dict[tuple[str, str], str] = {}
    for address in sorted(addresses):
        parts = address.removeprefix(f"{folder.rstrip('/')}/").split("/")
        outputs = STEPS[parts[0]].outputs if parts[0] in STEPS else ()
        for depth, part in enumerate(parts[1:3], start=1):
            if part in outputs:
                found[parts[0], part] = "/".join([folder.rstrip("/"), *parts[: depth + 1]])
                break
    return found


def _read_task(step: str, details: list[Any], run: State, workflow: Workflow) -> TaskState | None:
    """Read the state of a step from its own entry and that of its driver, which prepares it; None without both."""
    task, driver = _find_newest(details, step), _find_newest(details, f"{step}-driver")
    if not task and not driver:
        return None
    state = _read_state(task.state) if task else State.WAITING
    if state is State.WAITING and driver and _read_state(driver.state) is State.FAILED:
        state = State.FAILED
    if run.is_final and not state.is_final:
        state = State.SKIPPED if state is State.WAITING else State.CANCELLED
    if state is State.SUCCEEDED and workflow.is_cached(step):
        state = State.CACHED
    message = ""
    if state is State.FAILED:
        message = _find_message(task) or _find_message(driver) or workflow.find_message(step)
    if run is State.CANCELLED and state is State.FAILED and ENDED_EARLY in message:
        state, message = State.CANCELLED, ""
    start, end = (task.start_time or NEVER, task.end_time or NEVER) if task else (NEVER, NEVER)
    is_measured = state.is_final and state is not State.SKIPPED and NEVER < start <= end
    seconds = float((end - start).total_seconds()) if is_measured else None
    return TaskState(step, state, seconds, message)


def _find_newest(details: list[Any], name: str) -> Any:
    """Find the newest entry of a name: there are several if a failed run was retried."""
    return max(
        (each for each in details if each.display_name == name),
        key=lambda each: each.start_time or each.create_time or NEVER,
        default=None,
    )


def _find_message(one: Any) -> str:
    """Find the error of a run or a task, or the last in the history of its states.

    KFP 2.17 leaves both empty, so that messages come from the Workflow only; other versions may fill them.
    """
    if not one:
        return ""
    errors = [one.error, *(status.error for status in reversed(one.state_history or []))]
    return next((str(error.message) for error in errors if error and error.message), "")


def _read_state(state: str | None) -> State:
    """Translate a state; an unknown one counts as running."""
    return STATES.get(state or "", State.RUNNING)
