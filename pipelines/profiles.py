"""What every profile of `mnist.toml` may say: where artifacts go, on which machines steps run, what is scheduled.

A platform adds its own keys in `pipelines/platforms/<platform>/profile.py`. `pipelines/configuration.py` reads the
file; `mnist.example.toml` explains every key to a person.
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

FIRST_RETRY = "60s"  # capacity that was taken away is seldom back at once


@dataclass(frozen=True)
class Form:
    """A pattern that text must match as a whole. The error says what was expected, and never repeats what arrived."""

    pattern: str
    expected: str

    def __call__(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise PydanticCustomError("form", "{expected}", {"expected": self.expected})
        return text


def form(pattern: str, expected: str) -> AfterValidator:
    """Annotate text with its form.

    Args:
        expected: The form in words, with an example.
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
    """What all tables have in common: no unknown keys, no guessing of types, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Resources(Table):
    """What a step's container asks for, and may not exceed.

    Attributes:
        cpu: Cores: "4", "0.5", "500m".
        memory: "8G", "512Mi".
    """

    cpu: Cores
    memory: Memory


class Schedule(Table):
    """A run that the platform starts again and again.

    Attributes:
        name: Unique in its profile.
        cron: Five fields: minute, hour, day of month, month, day of week.
        time_zone: Of the cron expression: "UTC", "Europe/Berlin".
        parameters: Those that differ from the pipeline's defaults.
        max_concurrency: Runs of this schedule at a time.
        start, end: It fires only between them; without a zone of their own they are in `time_zone`.
        paused: None leaves it to `mnist schedule pause` and `resume`.
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
    """What every platform takes.

    Attributes:
        name: Of the table.
        experiment: Under which runs are grouped.
        pipeline_root: The folder in a bucket for all artifacts.
        service_account: That steps run as.
        accelerator: The platform's name for it; None trains on the CPU.
        train_retries: How often training is retried after it failed; the platform decides what counts as a failure.
        resources: By step, where they differ from `pipelines/steps.py`.
    """

    # What says whose profile it is and where its platform is, but nothing of what its runs are made of.
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
        """The platform and where it is, for messages."""

    @abstractmethod
    def placement(self, images: Mapping[str, str]) -> Placement:
        """What a pipeline compiled for this profile asks its platform for.

        Args:
            images: References by digest, by image of `components/__init__.py`.
        """

    def resources_of(self, step: Step) -> Resources:
        """What a step's container asks for: the profile's value, or the default of the step."""
        return self.resources.get(step.name) or Resources(cpu=step.cpu, memory=step.memory)

    def equip_training(
        self,
        task: pipeline_task.PipelineTask,
        *,
        retry_after: str = FIRST_RETRY,
        retry_within: str,
        has_own_machine: bool = False,
    ) -> None:
        """Ask for retries and, unless its own machine already has it, for the accelerator.

        Args:
            retry_after: The wait before the first retry, which doubles with each one, as in "60s".
            retry_within: The longest wait between tries, as in "3600s".
        """
        if self.train_retries:
            task.set_retry(self.train_retries, retry_after, 2.0, retry_within)
        if self.accelerator and not has_own_machine:
            # A limit of 0 would still ask for a node with the accelerator: for the CPU the call is left out.
            task.set_accelerator_type(self.accelerator).set_accelerator_limit(self.accelerator_count)
