"""A platform that keeps schedules in memory and fails on demand, for tests that need thousands of them.

The real platforms' answers are tested with servers that speak their protocols; this one only does what
`pipelines/platforms/base.py` says of each call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pipelines.compilation import Job
from pipelines.platforms.base import Existing, Mark, MissingError, PlatformError, RunState, State
from pipelines.profiles import Schedule


def refuse(_platform: "MemoryPlatform", _change: Callable[[], object]) -> None:
    raise PlatformError("The platform refuses.")


def lose_answer(_platform: "MemoryPlatform", change: Callable[[], object]) -> None:
    change()
    raise PlatformError("The answer was lost.", may_have_happened=True)


def interrupt_before(_platform: "MemoryPlatform", _change: Callable[[], object]) -> None:
    raise KeyboardInterrupt


def interrupt_after(_platform: "MemoryPlatform", change: Callable[[], object]) -> None:
    change()
    raise KeyboardInterrupt


def interrupt_within(platform: "MemoryPlatform", change: Callable[[], object]) -> None:
    """As on Vertex AI, where a paused schedule is created active and then paused."""
    before = set(platform.existing)
    change()
    for id in set(platform.existing) - before:
        platform.existing[id] = replace(platform.existing[id], paused=False)
    raise KeyboardInterrupt


FAULTS = (refuse, lose_answer, interrupt_before, interrupt_after, interrupt_within)


@dataclass
class MemoryPlatform:
    """A `PlatformClient`.

    Attributes:
        existing: Every schedule by its id.
        log: The changes in order: a verb and the name of a schedule.
        history: All schedules after each change.
        faults: What happens instead of a change, by its number from now on, from 0.
    """

    existing: dict[str, Existing] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    history: list[tuple[Existing, ...]] = field(default_factory=list)
    faults: dict[int, Callable[["MemoryPlatform", Callable[[], object]], None]] = field(default_factory=dict)
    now: datetime = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def submit(self, job: Job, *, name: str) -> str:
        raise NotImplementedError

    def link(self, run_id: str) -> str:
        return f"https://platform.example.com/runs/{run_id}"

    def read_run(self, run_id: str) -> RunState:
        return RunState(State.RUNNING)

    def cancel(self, run_id: str) -> None:
        raise NotImplementedError

    def find_artifacts(self, run_id: str) -> dict[tuple[str, str], str]:
        return {}

    def check_schedule(self, schedule: Schedule) -> None:
        pass

    def list_schedules(self) -> list[Existing]:
        return list(self.existing.values())

    def create_schedule(self, schedule: Schedule, job: Job, mark: Mark) -> Existing:
        self.now += timedelta(seconds=1)
        id = f"made-{len(self.schedules) + 1}"
        made = Existing(
            id, schedule.name, mark, schedule.cron, schedule.time_zone, bool(schedule.paused), False, self.now
        )

        def change() -> None:
            self.existing[id], self.jobs[id], self.schedules[id] = made, job, schedule

        self._change("create", mark.name, change)
        return made

    def pause_schedule(self, id: str) -> None:
        self._set_paused(id, "pause", True)

    def resume_schedule(self, id: str) -> None:
        self._set_paused(id, "resume", False)

    def delete_schedule(self, id: str) -> None:
        if id in self.existing:
            self._change("delete", self.existing[id].title, lambda: self.existing.pop(id))

    def run_schedule(self, id: str, *, name: str) -> str:
        self.runs[name] = id
        return name

    def _set_paused(self, id: str, verb: str, paused: bool) -> None:
        if id not in self.existing:
            raise MissingError(f"no schedule {id}")

        def change() -> None:
            self.existing[id] = replace(self.existing[id], paused=paused)

        self._change(verb, self.existing[id].title, change)

    def _change(self, verb: str, name: str, change: Callable[[], object]) -> None:
        self.faults = {number - 1: fault for number, fault in self.faults.items()}
        if fault := self.faults.pop(-1, None):
            fault(self, change)
        change()
        self.log.append((verb, name))
        self.history.append(tuple(self.existing.values()))
