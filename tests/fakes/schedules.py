"""The schedules of the fake platforms, read from the servers' own state and not through a client."""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import google.protobuf.json_format
from google.cloud.aiplatform_v1 import types

from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.vertex.runs import succeed
from tests.fakes.vertex.server import VertexServer

BY_HAND = "Somebody's own"
# What goes wrong at a call: before it is carried out, for once or for good, or afterwards, so that its answer is lost.
TRANSIENT = ("busy", "broken", "unavailable", "late", "cut")
PERMANENT = ("signed out", "denied", "missing", "invalid")
AFTERWARDS = " afterwards"
LOST = ("unavailable afterwards", "late afterwards", "cut afterwards")
OFTEN = 1000


@dataclass(frozen=True)
class StoredSchedule:
    """A schedule as the platform has it.

    Attributes:
        times: The cron expression, and the time zone on Vertex AI, as the platform writes them.
        parameters: Of its runs.
    """

    id: str
    name: str
    times: str
    paused: bool
    parameters: Mapping[str, Any]


class Played(Protocol):
    """What tests of schedules read from a fake platform, and how they break it.

    Attributes:
        table: A profile for mnist.toml, named `there`.
        environment: Variables with which another process reaches it and signs in.
    """

    table: str
    environment: Mapping[str, str]

    def own(self) -> list[StoredSchedule]:
        """The schedules with a mark of profile `there`, the oldest first."""

    def others(self) -> list[str]:
        """Everything about the schedules without such a mark."""

    def make_by_hand(self) -> None:
        """Create a schedule as somebody else would, on the platform's page."""

    def fail(self, call: str, kind: str, *, times: int = 1) -> None:
        """Break the next calls of create, list, pause, resume or delete, by a kind of TRANSIENT, PERMANENT or LOST."""

    def fall_silent(self, call: str) -> threading.Event:
        """Leave the calls of one kind without an answer from now on; the event says that one has come."""

    def heal(self) -> None:
        """End every fault."""

    def now(self) -> datetime:
        """The platform's clock."""

    def pass_time(self, passed: timedelta) -> int:
        """Put its clock forward; returns how many runs all schedules started meanwhile."""

    def runs(self) -> dict[str, Mapping[str, Any]]:
        """Parameters of every run, by its id."""


class OnVertex:
    """Vertex AI."""

    CALLS: Mapping[str, str] = {
        "create": "CreateSchedule",
        "list": "ListSchedules",
        "pause": "PauseSchedule",
        "resume": "ResumeSchedule",
        "delete": "DeleteSchedule",
    }
    KINDS: Mapping[str, str] = {
        "busy": "quota",
        "broken": "internal",
        "signed out": "unauthenticated",
    }

    def __init__(self, server: VertexServer) -> None:
        self.server = server
        self.server.play(succeed()[-1:])  # a schedule fires no second run while one goes on
        self.environment = server.environment
        self.table = (
            '[there]\nplatform = "vertex"\nproject = "my-project"\nregion = "europe-west4"\n'
            f'pipeline_root = "gs://bucket/root"\nendpoint = "{server.endpoint}"\n'
        )

    def own(self) -> list[StoredSchedule]:
        return [
            StoredSchedule(
                id,
                each.create_pipeline_job_request.pipeline_job.labels["mnist-schedule"],
                each.cron,
                each.state == types.Schedule.State.PAUSED,
                dict(each.create_pipeline_job_request.pipeline_job.runtime_config.parameter_values),
            )
            for id, each in self.server.schedules.items()
            if self._owner(each) == "there"
        ]

    def others(self) -> list[str]:
        return [
            google.protobuf.json_format.MessageToJson(type(each).pb(each))
            for each in self.server.schedules.values()
            if self._owner(each) != "there"
        ]

    def make_by_hand(self) -> None:
        [usual] = [each for each in self.server.schedules.values() if self._owner(each) == "there"][:1]
        other = types.Schedule(usual)
        other.name, other.display_name = f"{usual.name}9", BY_HAND
        for label in [label for label in self._labels(other) if label.startswith("mnist-")]:
            del self._labels(other)[label]
        self.server.schedules[other.name.rpartition("/")[2]] = other

    def fail(self, call: str, kind: str, *, times: int = 1) -> None:
        word = kind.removesuffix(AFTERWARDS)
        self.server.fail(self.CALLS[call], self.KINDS.get(word, word), times=times, carried_out=word != kind)

    def fall_silent(self, call: str) -> threading.Event:
        has_come = threading.Event()
        self.server.on_silence = has_come.set
        self.server.fail(self.CALLS[call], "timeout", times=None)
        return has_come

    def heal(self) -> None:
        self.server.heal()

    def now(self) -> datetime:
        return self.server.now()

    def pass_time(self, passed: timedelta) -> int:
        before = len(self.server.jobs)
        self.server.pass_time(passed)
        return len(self.server.jobs) - before

    def runs(self) -> dict[str, Mapping[str, Any]]:
        return {id: dict(job.runtime_config.parameter_values) for id, job in self.server.jobs.items()}

    def _labels(self, schedule: types.Schedule) -> Any:
        return schedule.create_pipeline_job_request.pipeline_job.labels

    def _owner(self, schedule: types.Schedule) -> str:
        return str(self._labels(schedule).get("mnist-profile", ""))


class OnKubeflow:
    """A Kubeflow Pipelines with namespaces."""

    CALLS: Mapping[str, str] = {
        "create": "CreateRecurringRun",
        "list": "ListRecurringRuns",
        "pause": "DisableRecurringRun",
        "resume": "EnableRecurringRun",
        "delete": "DeleteRecurringRun",
    }
    KINDS: Mapping[str, str] = {
        "busy": "429",
        "broken": "500",
        "unavailable": "503",
        "late": "timeout",
        "signed out": "401",
        "denied": "403",
        "missing": "404",
        "invalid": "400",
        "unavailable afterwards": "cut-headers",
        "late afterwards": "lost",
        "cut afterwards": "cut-body",
    }

    def __init__(self, server: KubeflowServer) -> None:
        self.server = server
        self.environment: Mapping[str, str] = {}
        self.table = f'[there]\nplatform = "kubeflow"\nhost = "{server.host}"\nnamespace = "team-a"\n'
        self._passed = timedelta()

    def own(self) -> list[StoredSchedule]:
        marked = [(each, self._mark(each)) for each in self.server.recurring_runs.values()]
        return [
            StoredSchedule(
                each["recurring_run_id"],
                mark["name"],
                each["trigger"]["cron_schedule"]["cron"],
                each["mode"] == "DISABLE",
                each["runtime_config"]["parameters"],
            )
            for each, mark in marked
            if mark and mark["profile"] == "there"
        ]

    def others(self) -> list[str]:
        return [json.dumps(each) for each in self.server.recurring_runs.values() if not self._mark(each)]

    def make_by_hand(self) -> None:
        usual = next(iter(self.server.recurring_runs.values()))
        id = usual["recurring_run_id"][::-1]
        self.server.recurring_runs[id] = {
            **usual,
            "recurring_run_id": id,
            "display_name": BY_HAND,
            "description": "Mine",
        }

    def fail(self, call: str, kind: str, *, times: int = 1) -> None:
        self.server.fail(self.CALLS[call], self.KINDS.get(kind, kind), times=times)

    def fall_silent(self, call: str) -> threading.Event:
        has_come = threading.Event()
        self.server.on_silence = has_come.set
        self.server.fail(self.CALLS[call], "timeout", times=OFTEN)
        return has_come

    def heal(self) -> None:
        for call in self.CALLS:
            self.fail(call, "cut", times=0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._passed

    def pass_time(self, passed: timedelta) -> int:
        self._passed += passed
        self.server.state._clock += passed
        for run in self.server.runs.values():
            run["state"] = "SUCCEEDED"
        return len(self.server.state.tick(self.now()))

    def runs(self) -> dict[str, Mapping[str, Any]]:
        return {id: run["runtime_config"]["parameters"] for id, run in self.server.runs.items()}

    def _mark(self, recurring_run: Mapping[str, Any]) -> re.Match[str] | None:
        pattern = r"mnist-schedule: (?P<profile>\S+) (?P<name>\S+) [0-9a-f]{32}"
        return re.search(pattern, recurring_run.get("description", ""))
