"""What Kubeflow Pipelines and Vertex AI both do, in one vocabulary.

`kubeflow/client.py` and `vertex/client.py` call the platforms; everything else, such as following a run or applying
schedules, is written once against the `PlatformClient` below.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from components.mnist.errors import MnistError
from pipelines.checks import Check
from pipelines.compilation import Job
from pipelines.profiles import Profile, Schedule


class PlatformError(MnistError):
    """A platform did not do what was asked.

    Attributes:
        may_have_happened: Whether the platform may have carried out the call, as when its answer was lost.
    """

    def __init__(self, message: str, *, may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.may_have_happened = may_have_happened


class TransientError(PlatformError):
    """The network or the platform failed for the moment: another try may succeed."""


class SignInError(PlatformError):
    """The credentials are missing, wrong or expired."""


class DeniedError(PlatformError):
    """The signed-in account lacks a permission."""


class MissingError(PlatformError):
    """What was named does not exist."""


class ConflictError(PlatformError):
    """Something of that name exists already, or is in a state that does not allow the call."""


class State(StrEnum):
    """The state of a run or a task."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    CACHED = "cached"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it any more."""
        return self not in (State.WAITING, State.RUNNING)


@dataclass(frozen=True)
class TaskState:
    """A step of a run.

    Attributes:
        name: Of the step, as in `pipelines/training.py`.
        seconds: From its start to its end; None before the end, or when the platform does not report it.
        message: Why it failed, in the platform's words.
    """

    name: str
    state: State
    seconds: float | None = None
    message: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether it failed, and the platform says why."""
        return self.state is State.FAILED and self.message != ""


@dataclass(frozen=True)
class RunState:
    """The state of a run and of its steps.

    Attributes:
        tasks: The steps that the platform knows of, in no particular order.
        message: Why it failed, in the platform's words.
    """

    state: State
    tasks: tuple[TaskState, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Mark:
    """What `mnist schedule apply` writes on the schedules that it creates, to find them again.

    Attributes:
        profile, name: Whose schedule it is in `mnist.toml`.
        content: Digits of a hash of everything that makes the schedule what it is; lower-case hexadecimal.
    """

    profile: str
    name: str
    content: str


@dataclass(frozen=True)
class Existing:
    """A schedule that exists on the platform, whoever made it.

    Attributes:
        id: The platform's name for it.
        title: What the platform's page shows.
        mark: None when somebody else made it.
        cron: Five fields where the schedule has them; the platform's own words otherwise.
        time_zone: Of the cron expression.
        paused: Fires nothing until it is resumed.
        ended: Will never fire again: its end has passed.
        created: With a time zone.
    """

    id: str
    title: str
    mark: Mark | None
    cron: str
    time_zone: str
    paused: bool
    ended: bool
    created: datetime


class PlatformClient(Protocol):
    """A platform as one profile uses it; every method raises PlatformError, or one of its subclasses.

    Calls that can be repeated safely are tried again after transient errors; calls that create something create it
    once, even when an answer is lost (`pipelines/platforms/retrying.py`).
    """

    def submit(self, job: Job, *, name: str) -> str:
        """Start a run and return its id; `name` is unique, 63 characters at most of a-z, 0-9 and -."""

    def link(self, run_id: str) -> str:
        """The page of a run."""

    def read_run(self, run_id: str) -> RunState:
        """The state of a run now."""

    def cancel(self, run_id: str) -> None:
        """Ask a run to end; one that has ended already is left as it is."""

    def find_artifacts(self, run_id: str) -> dict[tuple[str, str], str]:
        """The gs:// addresses of a run's artifacts, by step and output; empty where they cannot be read."""

    def check_schedule(self, schedule: Schedule) -> None:
        """Raise SettingError for a time zone, cron expression or max_concurrency that the platform can't do."""

    def list_schedules(self) -> list[Existing]:
        """Every schedule in this project and region, or namespace and experiment."""

    def create_schedule(self, schedule: Schedule, job: Job, mark: Mark) -> Existing:
        """Create a schedule, paused where `schedule.paused` is true."""

    def pause_schedule(self, id: str) -> None:
        """Stop a schedule from starting runs until it is resumed."""

    def resume_schedule(self, id: str) -> None:
        """Let a schedule start runs again; times that it missed while paused are not made up for."""

    def delete_schedule(self, id: str) -> None:
        """Delete a schedule; one that is gone already is no error. The runs that it started continue."""

    def run_schedule(self, id: str, *, name: str) -> str:
        """Start a run now with the pipeline and parameters that the schedule has, and return the run's id."""


@dataclass(frozen=True)
class Platform:
    """A row of the table of platforms (`pipelines/platforms/table.py`).

    Attributes:
        profile: What its profiles may say; it also knows what a pipeline compiled for it asks for.
        connect: Signs in to a profile's platform; raises PlatformError, or SettingError for what the profile says.
        list_checks: What `mnist doctor` checks for a profile.
    """

    profile: type[Profile]
    connect: Callable[[Any], PlatformClient]
    list_checks: Callable[[Any], list[Check]]
