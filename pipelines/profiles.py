"""The keys of every profile of `mnist.toml`: artifacts, resources of the steps, schedules.

A platform adds its own keys in `pipelines/platforms/<platform>/profile.py`. `pipelines/configuration.py` reads the
file; `mnist.example.toml` explains every key to users.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Self

from kfp.dsl import pipeline_task
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from components.mnist.errors import suggest
from pipelines.steps import STEPS, Step
from pipelines.training import Placement

FIRST_RETRY = "60s"  # preempted capacity is seldom available again at once


@dataclass(frozen=True)
class Form:
    """A pattern that a whole text must match. The error names the expected form, and never repeats the text."""

    pattern: str
    expected: str

    def __call__(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise PydanticCustomError("form", "{expected}", {"expected": self.expected})
        return text


def form(pattern: str, expected: str) -> AfterValidator:
    """Annotate text with its form.

    Args:
        expected: A description of the form, with an example.
    """
    return AfterValidator(Form(pattern, expected))


# Profile and schedule names become labels and parts of names on both platforms.
NAME = Form(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?", "1 to 30 characters of a-z, 0-9 and -, starting with a letter")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, AfterValidator(NAME)]
Url = Annotated[
    str, form(r"https?://[^\s/@?#]+(/[^\s?#]*)?", "an address such as https://kubeflow.example.com/pipeline")
]
Bucket = Annotated[str, form(r"gs://[a-z0-9][a-z0-9._-]*(/[^\s?#]*)?", "a folder in a bucket: gs://bucket/folder")]
Cores = Annotated[
    str,
    form(r"[0-9]*[1-9][0-9]*(\.[0-9]+)?|0?\.[0-9]*[1-9][0-9]*|[1-9][0-9]*m", 'a number of cores such as "4" or "500m"'),
]
Memory = Annotated[str, form(r"[1-9][0-9]*[KMGT]i?", 'an amount such as "8G" or "512Mi"')]


class Table(BaseModel):
    """Base class of all tables: no unknown keys, no conversion of types, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Resources(Table):
    """Resources of a step's container, both request and limit.

    Attributes:
        cpu: Cores: "4", "0.5", "500m".
        memory: "8G", "512Mi".
    """

    cpu: Cores
    memory: Memory


class Schedule(Table):
    """A run that the platform starts repeatedly.

    Attributes:
        name: Unique in its profile.
        cron: Five fields: minute, hour, day of month, month, day of week.
        time_zone: Time zone of the cron expression: "UTC", "Europe/Berlin".
        parameters: Parameters that differ from the pipeline's defaults.
        max_concurrency: Largest number of simultaneous runs of this schedule.
        start, end: The schedule fires only between them; without a time zone, they are in `time_zone`.
        paused: None to keep the state set by `mnist schedule pause` and `resume`.
    """

    name: Name
    cron: Text
    time_zone: Text = "UTC"
    parameters: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    max_concurrency: int = Field(default=1, ge=1, le=10)
    start: datetime | None = None
    end: datetime | None = None
    paused: bool | None = None


class Profile(Table, ABC):
    """The keys of every platform's profiles.

    Attributes:
        name: Name of the table.
        experiment: The experiment that groups the runs.
        pipeline_root: The folder in a bucket for all artifacts.
        service_account: The account of the steps.
        accelerator: The platform's name of the accelerator; None trains on the CPU.
        train_retries: Number of retries of a failed training; the platform defines which failures count.
        resources: By step, if they differ from `pipelines/steps.py`.
    """

    # Keys that identify the profile and its platform, but do not affect its runs.
    identity_keys: ClassVar[frozenset[str]] = frozenset({"name", "platform", "schedules"})

    name: Name
    platform: str
    pipeline_root: Bucket | None = None
    experiment: Text | None = None
    service_account: Text | None = None
    accelerator: Text | None = None
    accelerator_count: int = Field(default=1, ge=1, le=16)
    train_retries: int = Field(default=3, ge=0, le=10)
    resources: Mapping[str, Resources] = Field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()

    @field_validator("resources")
    @classmethod
    def _are_of_known_steps(cls, resources: Mapping[str, Resources]) -> Mapping[str, Resources]:
        if unknown := next((name for name in resources if name not in STEPS), None):
            expected = f"expected one of {', '.join(STEPS)}."
            raise ValueError(
                f"has resources of an unknown step {unknown}; {suggest(unknown, STEPS, otherwise=expected)}"
            )
        return resources

    @model_validator(mode="after")
    def _counts_an_accelerator(self) -> Self:
        if "accelerator_count" in self.model_fields_set and not self.accelerator:
            raise ValueError("has accelerator_count without accelerator. Add it, or remove the count.")
        return self

    @model_validator(mode="after")
    def _has_unique_schedules(self) -> Self:
        names = [schedule.name for schedule in self.schedules]
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"has two schedules named {double[0]}. Rename one.")
        return self

    @property
    @abstractmethod
    def title(self) -> str:
        """Name of the platform, with its address or region, for messages."""

    @abstractmethod
    def placement(self, images: Mapping[str, str]) -> Placement:
        """Return the placement of the steps on the profile's platform.

        Args:
            images: References by digest, by image of `components/__init__.py`.
        """

    def resources_of(self, step: Step) -> Resources:
        """Return the resources of a step: the profile's, or the default of the step."""
        return self.resources.get(step.name) or Resources(cpu=step.cpu, memory=step.memory)

    def equip_training(
        self,
        task: pipeline_task.PipelineTask,
        *,
        retry_after: str = FIRST_RETRY,
        retry_within: str,
        has_own_machine: bool = False,
    ) -> None:
        """Set the retries of training and, unless its own machine has one, the accelerator.

        Args:
            retry_after: The wait before the first retry, which doubles with each one, as in "60s".
            retry_within: The longest wait between tries, as in "3600s".
        """
        if self.train_retries:
            task.set_retry(self.train_retries, retry_after, 2.0, retry_within)
        if self.accelerator and not has_own_machine:
            # Not called for the CPU: a limit of 0 would still require a node with the accelerator.
            task.set_accelerator_type(self.accelerator).set_accelerator_limit(self.accelerator_count)
