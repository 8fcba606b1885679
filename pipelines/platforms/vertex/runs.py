"""Convert Vertex AI's pipeline jobs to the classes of `pipelines/platforms/base.py`. Pure: nothing is sent."""

from google.cloud.aiplatform_v1.types import PipelineJob, PipelineState, PipelineTaskDetail

from pipelines.platforms.base import RunState, State, TaskState
from pipelines.steps import STEPS

STATES = {
    PipelineState.PIPELINE_STATE_UNSPECIFIED: State.WAITING,
    PipelineState.PIPELINE_STATE_QUEUED: State.WAITING,
    PipelineState.PIPELINE_STATE_PENDING: State.WAITING,
    PipelineState.PIPELINE_STATE_RUNNING: State.RUNNING,
    PipelineState.PIPELINE_STATE_SUCCEEDED: State.SUCCEEDED,
    PipelineState.PIPELINE_STATE_FAILED: State.FAILED,
    PipelineState.PIPELINE_STATE_CANCELLING: State.RUNNING,
    PipelineState.PIPELINE_STATE_CANCELLED: State.CANCELLED,
    PipelineState.PIPELINE_STATE_PAUSED: State.WAITING,
}
TASK_STATES = {
    PipelineTaskDetail.State.STATE_UNSPECIFIED: State.WAITING,
    PipelineTaskDetail.State.PENDING: State.WAITING,
    PipelineTaskDetail.State.RUNNING: State.RUNNING,
    PipelineTaskDetail.State.SUCCEEDED: State.SUCCEEDED,
    PipelineTaskDetail.State.CANCEL_PENDING: State.RUNNING,
    PipelineTaskDetail.State.CANCELLING: State.RUNNING,
    PipelineTaskDetail.State.CANCELLED: State.CANCELLED,
    PipelineTaskDetail.State.FAILED: State.FAILED,
    # SKIPPED is Google's term for a step with cached outputs.
    PipelineTaskDetail.State.SKIPPED: State.CACHED,
    PipelineTaskDetail.State.NOT_TRIGGERED: State.SKIPPED,
}


def read_state(job: PipelineJob) -> RunState:
    """Read the states of a run and its steps. An unknown state counts as running."""
    tasks = []
    for name, detail in _find_steps(job).items():
        ended = "start_time" in detail and "end_time" in detail
        seconds = (detail.end_time - detail.start_time).total_seconds() if ended else None
        tasks.append(TaskState(name, TASK_STATES.get(detail.state, State.RUNNING), seconds, detail.error.message))
    return RunState(STATES.get(job.state, State.RUNNING), tuple(tasks), job.error.message)


def read_artifacts(job: PipelineJob) -> dict[tuple[str, str], str]:
    """Read the gs:// addresses of the steps' artifacts, by step and output."""
    return {
        (name, output): artifacts.artifacts[0].uri
        for name, detail in _find_steps(job).items()
        for output, artifacts in detail.outputs.items()
        if artifacts.artifacts and artifacts.artifacts[0].uri.startswith("gs://")
    }


def _find_steps(job: PipelineJob) -> dict[str, PipelineTaskDetail]:
    """Return the details of each step, without those of the pipeline itself and of groups of steps.

    Of several tries of a step, the last counts.
    """
    details = sorted(job.job_detail.task_details, key=lambda detail: detail.task_id)
    return {detail.task_name: detail for detail in details if detail.task_name in STEPS}
