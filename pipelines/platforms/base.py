"""The common interface of Kubeflow Pipelines and Vertex AI.

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
    """A call to a platform failed.

    Attributes:
        may_have_happened: Whether the platform may have executed the call, for instance if its answer was lost.
    """

    def __init__(self, message: str, *, may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.may_have_happened = may_have_happened


class TransientError(PlatformError):
    """A network failure, or a temporary failure of the platform: another try may succeed."""


class SignInError(PlatformError):
    """The credentials are missing, wrong or expired."""


class DeniedError(PlatformError):
    """The signed-in account lacks a permission."""


class MissingError(PlatformError):
    """The resource does not exist."""


class ConflictError(PlatformError):
    """The resource exists already, or its state does not allow the call."""


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
        """Whether the state can no longer change."""
        return self not in (State.WAITING, State.RUNNING)


@dataclass(frozen=True)
class TaskState:
    """The state of a step of a run.

    Attributes:
        name: Name of the step, as in `pipelines/training.py`.
        seconds: From its start to its end; None before the end, or when the platform does not report it.
        message: The platform's reason for a failure.
    """

    name: str
    state: State
    seconds: float | None = None
    message: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether the step failed and the platform gave a reason."""
        return self.state is State.FAILED and self.message != ""


@dataclass(frozen=True)
class RunState:
    """The state of a run and of its steps.

    Attributes:
        tasks: The steps that the platform reports, in no particular order.
        message: The platform's reason for a failure.
    """

    state: State
    tasks: tuple[TaskState, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Mark:
    """The mark that `mnist schedule apply` writes on its schedules, to identify them.

    Attributes:
        profile, name: The profile and name of the schedule in `mnist.toml`.
        content: Digits of a hash of the schedule's whole definition; lower-case hexadecimal.
    """

    profile: str
    name: str
    content: str


@dataclass(frozen=True)
class Existing:
    """A schedule on the platform, the project's own or not.

    Attributes:
        id: The platform's identifier.
        title: The title on the platform's page.
        mark: None if others created the schedule.
        cron: Five fields if the schedule has them; else the platform's text.
        time_zone: Time zone of the cron expression.
        paused: Whether it does not fire until it is resumed.
        ended: Whether its end has passed, so that it never fires again.
        created: Time of creation, with a time zone.
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
    """The client of a profile's platform; every method raises PlatformError or one of its subclasses.

    Idempotent calls are retried after transient errors; calls that create something create it once, even if an answer
    is lost (`pipelines/platforms/retrying.py`).
    """

    def submit(self, job: Job, *, name: str) -> str:
        """Start a run and return its id; `name` is unique, at most 63 characters of a-z, 0-9 and -."""

    def link(self, run_id: str) -> str:
        """Return the address of a run's page."""

    def read_run(self, run_id: str) -> RunState:
        """Return the current state of a run."""

    def cancel(self, run_id: str) -> None:
        """Request the cancellation of a run; one that has already ended is left unchanged."""

    def find_artifacts(self, run_id: str) -> dict[tuple[str, str], str]:
        """Return the gs:// addresses of a run's artifacts, by step and output; empty if they cannot be read."""

    def check_schedule(self, schedule: Schedule) -> None:
        """Raise SettingError for a time zone, cron expression or max_concurrency that the platform does not support."""

    def list_schedules(self) -> list[Existing]:
        """List all schedules in the project and region, or in the namespace and experiment."""

    def create_schedule(self, schedule: Schedule, job: Job, mark: Mark) -> Existing:
        """Create a schedule, paused if `schedule.paused` is true."""

    def pause_schedule(self, id: str) -> None:
        """Stop a schedule from starting runs until it is resumed."""

    def resume_schedule(self, id: str) -> None:
        """Let a schedule start runs again; times that it missed while paused are not caught up."""

    def delete_schedule(self, id: str) -> None:
        """Delete a schedule; a missing one is no error. The runs that it started continue."""

    def run_schedule(self, id: str, *, name: str) -> str:
        """Start a run now with the schedule's pipeline and parameters, and return the run's id."""


@dataclass(frozen=True)
class Platform:
    """A row of the table of platforms (`pipelines/platforms/table.py`).

    Attributes:
        profile: The class of its profiles, which also describes the placement of a pipeline's steps.
        connect: Signs in to a profile's platform; raises PlatformError, or SettingError for an error in the profile.
        list_checks: Lists the checks of `mnist doctor` for a profile.
    """

    profile: type[Profile]
    connect: Callable[[Any], PlatformClient]
    list_checks: Callable[[Any], list[Check]]
