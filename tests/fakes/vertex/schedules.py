"""Vertex AI's schedule service. Its schedules fire when its clock is put forward. It knows nothing of gRPC."""

import itertools
from datetime import UTC, datetime, timedelta

import grpc
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import Schedule
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from tests.fakes.vertex.checks import Refusal, check_schedule, read_cron, require
from tests.fakes.vertex.location import Location
from tests.fakes.vertex.runs import ENDED, Runs

PAGE_SIZE = 100


class Schedules:
    """The schedules of a project in a region.

    Attributes:
        by_id: The schedules, by their ids.
        page_size: How many come in one page at most.
        deletion: Why deleting fails; "" for a deletion that never ends; None for one that succeeds.
    """

    def __init__(self, location: Location, runs: Runs) -> None:
        self._location, self._runs = location, runs
        self.by_id: dict[str, Schedule] = {}
        self.page_size = PAGE_SIZE
        self.deletion: str | None = None
        self._missed: dict[str, list[datetime]] = {}
        self._deleting: dict[str, str] = {}
        self._ids = itertools.count(7_000_000_001)

    def create(self, request: types.CreateScheduleRequest) -> Schedule:
        self._location.check_parent(request.parent)
        check_schedule(request.schedule, request.parent, self._location.region, self._location.now())
        id = str(next(self._ids))
        made = Schedule(request.schedule)
        made.name, made.state, made.create_time = (
            self._location.full(f"schedules/{id}"),
            Schedule.State.ACTIVE,
            self._location.now(),
        )
        made.update_time = made.create_time
        self.by_id[id] = made
        self._plan(made, self._location.now())
        return made

    def get(self, request: types.GetScheduleRequest) -> Schedule:
        return self.by_id[self._location.read_id(request.name, "schedules", self.by_id)]

    def list(self, request: types.ListSchedulesRequest) -> types.ListSchedulesResponse:
        self._location.check_parent(request.parent)
        require(not request.filter and not request.order_by, "Filters and orders are not played.")
        newest_first = list(reversed(self.by_id.values()))
        first = int(request.page_token or 0)
        end = first + min(request.page_size or PAGE_SIZE, self.page_size)
        return types.ListSchedulesResponse(
            schedules=newest_first[first:end], next_page_token=str(end) if end < len(newest_first) else ""
        )

    def pause(self, request: types.PauseScheduleRequest) -> empty_pb2.Empty:
        schedule = self._in_state(request.name, Schedule.State.ACTIVE, "paused")
        schedule.state, schedule.last_pause_time = Schedule.State.PAUSED, self._location.now()
        return empty_pb2.Empty()

    def resume(self, request: types.ResumeScheduleRequest) -> empty_pb2.Empty:
        schedule = self._in_state(request.name, Schedule.State.PAUSED, "resumed")
        schedule.state, schedule.last_resume_time = Schedule.State.ACTIVE, self._location.now()
        schedule.catch_up = request.catch_up
        missed = self._missed.pop(schedule.name, [])
        for moment in missed if request.catch_up else []:
            self._fire(schedule, moment)
        self._plan(schedule, self._location.now())
        return empty_pb2.Empty()

    def delete(self, request: types.DeleteScheduleRequest) -> operations_pb2.Operation:
        id = self._location.read_id(request.name, "schedules", self.by_id)
        operation = f"{self.by_id[id].name}/operations/{next(self._ids)}"
        self._deleting[operation] = id
        return operations_pb2.Operation(name=operation)

    def get_operation(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        if request.name not in self._deleting:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Operation {request.name} does not exist.")
        operation = operations_pb2.Operation(name=request.name, done=self.deletion != "")
        if self.deletion:
            operation.error.code, operation.error.message = grpc.StatusCode.INTERNAL.value[0], self.deletion
        elif operation.done:
            self.by_id.pop(self._deleting[request.name], None)
            operation.response.Pack(empty_pb2.Empty())
        return operation

    def pass_time(self, passed: timedelta) -> None:
        """Put the clock forward; schedules fire at every time on the way."""
        end = self._location.now() + passed
        for schedule in self.by_id.values():
            while schedule.state != Schedule.State.COMPLETED and schedule.next_run_time <= end:
                moment = schedule.next_run_time
                if schedule.state == Schedule.State.ACTIVE:
                    self._fire(schedule, moment)
                else:
                    self._missed.setdefault(schedule.name, []).append(moment)
                self._plan(schedule, moment)
        self._location.ahead += passed

    def _fire(self, schedule: Schedule, moment: datetime) -> None:
        states = [job.state.name for job in self._runs.jobs.values() if job.schedule_name == schedule.name]
        active = sum(state.removeprefix("PIPELINE_STATE_") not in ENDED for state in states)
        if active >= (schedule.max_concurrent_active_run_count or active + 1):
            return  # without queueing the run is left out
        job = schedule.create_pipeline_job_request.pipeline_job
        self._runs.start(job, f"{job.pipeline_spec['pipelineInfo']['name']}-{next(self._ids)}", schedule.name)
        schedule.started_run_count += 1
        schedule.last_scheduled_run_response = {"scheduled_run_time": moment, "run_response": "OK"}

    def _plan(self, schedule: Schedule, after: datetime) -> None:
        start = max(after, schedule.start_time) if "start_time" in schedule else after
        schedule.next_run_time = next(read_cron(schedule.cron, start)).astimezone(UTC)
        if "end_time" in schedule and schedule.next_run_time > schedule.end_time:
            schedule.state = Schedule.State.COMPLETED

    def _in_state(self, name: str, desired: Schedule.State, verb: str) -> Schedule:
        schedule = self.by_id[self._location.read_id(name, "schedules", self.by_id)]
        if schedule.state != desired:
            words = f'The Schedule "{schedule.name}" is in state {schedule.state.name} and cannot be {verb}.'
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, words)
        return schedule
