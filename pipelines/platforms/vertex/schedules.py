"""Schedules that stand on Vertex AI: what they say of themselves, and what is done with them."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from google.cloud.aiplatform_v1.types import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    GetScheduleRequest,
    ListSchedulesRequest,
    PauseScheduleRequest,
    ResumeScheduleRequest,
    Schedule,
)
from google.longrunning import operations_pb2

from pipelines.platforms import retrying
from pipelines.platforms.base import ConflictError, Existing, MissingError, PlatformError, TransientError
from pipelines.platforms.vertex.connection import Connection
from pipelines.platforms.vertex.requests import REQUEST_LABEL, read_mark

PAGE_SIZE = 100
DELETE_SECONDS = 60.0
POLL_SECONDS = 1.0


class Schedules:
    """The schedules in a profile's project and region, by their ids."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._service = connection.schedules

    def read_all(self) -> list[Schedule]:
        """Every schedule, page after page."""

        def read(request: ListSchedulesRequest, *, retry: None, timeout: float) -> list[Schedule]:
            return list(self._service.list_schedules(request, retry=retry, timeout=timeout))

        request = ListSchedulesRequest(parent=self._connection.parent, page_size=PAGE_SIZE)
        return self._connection.ask(read, request, asked="list the schedules")

    def read(self, id: str) -> Schedule:
        """One schedule, with the request that starts its runs."""
        request = GetScheduleRequest(name=self._name(id))
        return self._connection.ask(self._service.get_schedule, request, asked=f"read the schedule {id}")

    def create(self, schedule: Schedule, token: str) -> Schedule:
        """Make a schedule once.

        Args:
            token: Unlike any other, to know it again when the answer is lost.
        """
        schedule.create_pipeline_job_request.pipeline_job.labels[REQUEST_LABEL] = token
        request = CreateScheduleRequest(parent=self._connection.parent, schedule=schedule)
        asked = f"make the schedule {schedule.display_name}"
        return retrying.create(
            lambda: self._connection.send(self._service.create_schedule, request, asked=asked),
            lambda: next((found for found in self.read_all() if _labels(found).get(REQUEST_LABEL) == token), None),
        )

    def pause(self, id: str) -> None:
        """Pause a schedule; one that is paused stays so."""
        request = PauseScheduleRequest(name=self._name(id))
        self._change(
            id,
            lambda: self._connection.ask(self._service.pause_schedule, request, asked=f"pause the schedule {id}"),
            Schedule.State.PAUSED,
        )

    def resume(self, id: str) -> None:
        """Let a schedule fire again, from the next time on; one that is active stays so."""
        request = ResumeScheduleRequest(name=self._name(id), catch_up=False)
        self._change(
            id,
            lambda: self._connection.ask(self._service.resume_schedule, request, asked=f"resume the schedule {id}"),
            Schedule.State.ACTIVE,
        )

    def delete(self, id: str) -> None:
        """Remove a schedule and wait until it is gone; one that is gone already is no trouble."""
        request, asked = DeleteScheduleRequest(name=self._name(id)), f"delete the schedule {id}"
        try:
            self._wait(self._connection.ask(self._service.delete_schedule, request, asked=asked).operation, asked)
        except MissingError:
            return

    def _wait(self, operation: operations_pb2.Operation, asked: str) -> None:
        deadline = time.monotonic() + DELETE_SECONDS
        while not operation.done:
            if time.monotonic() > deadline:
                raise TransientError(f"Vertex AI did not {asked} within {DELETE_SECONDS:g} seconds. Try again later.")
            time.sleep(POLL_SECONDS)
            request = operations_pb2.GetOperationRequest(name=operation.name)
            operation = self._connection.ask(self._service.get_operation, request, asked=asked)
        if operation.error.code:
            raise PlatformError(f"Vertex AI could not {asked}: {operation.error.message}")

    def _change(self, id: str, change: Callable[[], None], desired: int) -> None:
        try:
            change()
        except ConflictError:
            # Refused because an earlier try, whose answer was lost, has done it; or because the schedule has ended.
            if self.read(id).state != desired:
                raise

    def _name(self, id: str) -> str:
        return f"{self._connection.parent}/schedules/{id}"


def read_existing(schedule: Schedule) -> Existing:
    """What a schedule says of itself."""
    time_zone, expression = _read_cron(schedule.cron)
    return Existing(
        id=schedule.name.rpartition("/")[2],
        title=schedule.display_name,
        mark=read_mark(_labels(schedule)),
        cron=expression,
        time_zone=time_zone,
        paused=schedule.state == Schedule.State.PAUSED,
        ended=schedule.state == Schedule.State.COMPLETED,
        created=datetime.fromtimestamp(schedule.create_time.timestamp(), UTC),
    )


def _read_cron(words: str) -> tuple[str, str]:
    """The time zone and the five fields of "TZ=Europe/Berlin 0 6 * * *"; without a zone Vertex AI takes UTC."""
    match = re.fullmatch(r"(?:CRON_)?TZ=(\S+)\s+(.*)", words)
    return (match[1], match[2]) if match else ("UTC", words)


def _labels(schedule: Schedule) -> Mapping[str, str]:
    return schedule.create_pipeline_job_request.pipeline_job.labels
