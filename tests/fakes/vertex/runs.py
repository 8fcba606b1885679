"""Vertex AI's pipeline service with its runs. It knows nothing of gRPC."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import PipelineJob, PipelineState, PipelineTaskDetail
from google.protobuf import empty_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines import steps
from tests.fakes.vertex.checks import JOB_ID, Refusal, check_job, require
from tests.fakes.vertex.location import Location
from tests.fakes.vertex.metadata import Contexts

STEPS = tuple(steps.STEPS)
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
HAS_OUTPUTS = {"SUCCEEDED", "SKIPPED"}
STEP_SECONDS = 10.5  # how long each step takes


@dataclass(frozen=True)
class Scene:
    """A run as one request finds it.

    Attributes:
        state: Of the run, without the prefix PIPELINE_STATE_.
        tasks: The states of the tasks that have started.
        error: Why the run failed.
        errors: Why tasks failed, by task.
    """

    state: str
    tasks: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


def succeed(*, cached: Iterable[str] = ()) -> list[Scene]:
    """A run that succeeds, step after step, without running the cached ones."""
    scenes, tasks = [Scene("PENDING")], {}
    for step in STEPS:
        if step not in cached:
            scenes.append(Scene("RUNNING", tasks | {step: "RUNNING"}))
        tasks = tasks | {step: "SKIPPED" if step in cached else "SUCCEEDED"}
    return [*scenes, Scene("SUCCEEDED", tasks)]


def fail_at(step: str, words: str) -> list[Scene]:
    """A run in which one step fails, so that the later ones never start."""
    before = succeed()[: STEPS.index(step) + 2]
    error = f"The DAG failed because some tasks failed. The failed tasks are: [{step}]."
    tasks = {**before[-1].tasks, step: "FAILED"}
    return [*before, Scene("FAILED", tasks, error, {step: words})]


class Runs:
    """The runs of a project in a region.

    Attributes:
        jobs: By their ids.
        script: The scenes of runs that start from now on: each read of a run shows the next, and then the last again.
        uris: Addresses of outputs outside the pipeline root, by task and output.
    """

    def __init__(self, location: Location, contexts: Contexts) -> None:
        self._location, self._contexts = location, contexts
        self.jobs: dict[str, PipelineJob] = {}
        self.script: list[Scene] = succeed()
        self.uris: dict[tuple[str, str], str] = {}
        self._scenes: dict[str, list[Scene]] = {}
        self._specs: dict[str, pipeline_spec_pb2.PipelineSpec] = {}
        self._ids = itertools.count(1)

    def create(self, request: types.CreatePipelineJobRequest) -> PipelineJob:
        self._location.check_parent(request.parent)
        name = (
            request.pipeline_job_id or f"{request.pipeline_job.pipeline_spec['pipelineInfo']['name']}-{next(self._ids)}"
        )
        require(JOB_ID.fullmatch(name), f"Invalid pipeline_job_id {name!r}.")
        if name in self.jobs:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "Pipeline job with the specified ID already exists.")
        return self.start(request.pipeline_job, name)

    def get(self, request: types.GetPipelineJobRequest) -> PipelineJob:
        name = self._location.read_id(request.name, "pipelineJobs", self.jobs)
        self._advance(name)
        return self.jobs[name]

    def list_jobs(self, request: types.ListPipelineJobsRequest) -> types.ListPipelineJobsResponse:
        self._location.check_parent(request.parent)
        newest = list(reversed(self.jobs.values()))[: request.page_size or None]
        return types.ListPipelineJobsResponse(pipeline_jobs=newest)

    def cancel(self, request: types.CancelPipelineJobRequest) -> empty_pb2.Empty:
        name = self._location.read_id(request.name, "pipelineJobs", self.jobs)
        state = self.jobs[name].state.name
        if state.removeprefix("PIPELINE_STATE_") in ENDED:
            words = f'The PipelineJob "{self.jobs[name].name}" is in state {state} and cannot be canceled.'
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, words)
        now = self._scenes[name][0]
        tasks = {task: "CANCELLED" if is_state != "SUCCEEDED" else is_state for task, is_state in now.tasks.items()}
        self._scenes[name] = [Scene("CANCELLING", now.tasks), Scene("CANCELLED", tasks)]
        self._play(name)
        return empty_pb2.Empty()

    def start(self, job: PipelineJob, name: str, schedule: str = "") -> PipelineJob:
        spec = check_job(job, self._location.region)
        made = PipelineJob(job)
        made.name, made.schedule_name = self._location.full(f"pipelineJobs/{name}"), schedule
        made.create_time = made.update_time = self._location.now()
        self.jobs[name], self._specs[name], self._scenes[name] = made, spec, list(self.script)
        self._play(name)
        return made

    def _advance(self, name: str) -> None:
        if len(self._scenes[name]) > 1:
            self._scenes[name].pop(0)
        self._play(name)

    def _play(self, name: str) -> None:
        """Put a job into the state of its scene."""
        job, scene = self.jobs[name], self._scenes[name][0]
        job.state = PipelineState[f"PIPELINE_STATE_{scene.state}"]
        job.error = {"code": 9, "message": scene.error} if scene.error else None
        if scene.state != "PENDING":
            job.start_time = job.create_time
            job.job_detail.pipeline_run_context = self._contexts.enter_run(name)
            # Vertex AI lists the pipeline itself as a task too.
            whole = PipelineTaskDetail(task_id=1, task_name=name, state=PipelineTaskDetail.State.RUNNING)
            job.job_detail.task_details = [whole, *(self._describe_task(name, task) for task in scene.tasks)]
        if scene.state in ENDED:
            job.end_time = self._location.now()

    def _describe_task(self, name: str, task: str) -> PipelineTaskDetail:
        job, scene, position = self.jobs[name], self._scenes[name][0], list(self._scenes[name][0].tasks).index(task)
        state, error = scene.tasks[task], scene.errors.get(task)
        begin = job.create_time + timedelta(seconds=position * STEP_SECONDS)
        detail = PipelineTaskDetail(
            task_id=position + 2,
            parent_task_id=1,
            task_name=task,
            create_time=begin,
            state=PipelineTaskDetail.State[state],
            error={"code": 9, "message": error} if error else None,
        )
        if state != "PENDING":
            detail.start_time = begin
        if state in ENDED | HAS_OUTPUTS:
            detail.end_time = begin + timedelta(seconds=STEP_SECONDS)
        if state in HAS_OUTPUTS:
            self._give_outputs(name, detail)
        return detail

    def _give_outputs(self, name: str, detail: PipelineTaskDetail) -> None:
        spec, root = self._specs[name], self.jobs[name].runtime_config.gcs_output_directory.rstrip("/")
        component = spec.components[spec.root.dag.tasks[detail.task_name].component_ref.name]
        for output, definition in component.output_definitions.artifacts.items():
            own = f"{root}/{self._location.number}/{name}/{detail.task_name}_{detail.task_id}/{output}"
            uri = self.uris.get((detail.task_name, output), own)
            artifact = types.Artifact(uri=uri, schema_title=definition.artifact_type.schema_title)
            detail.outputs[output] = PipelineTaskDetail.ArtifactList(artifacts=[artifact])
