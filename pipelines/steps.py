"""The table of steps: what each one is, needs and leaves behind. A new step is one row here, and a task in the graph.

Compilation, profiles, both runners, platforms, the run folder and the doctor all read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kfp.dsl import base_component

from components.evaluate import evaluate
from components.ingest import ingest
from components.mnist.errors import SettingError, suggest
from components.train import train
from components.visualize import visualize


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    Attributes:
        component: Its interface, from its page in `components/`.
        cpu, memory: What its container asks for and may not exceed, unless a profile says otherwise; "500m", "8G".
        trains: It gets the accelerator, the trainer's machine and its retries.
        reads_source: It has the parameter `source`, and so needs a network, files or credentials of the user.
        is_cached: A platform may take its outputs from its cache. Seldom across runs: ingest, which all steps follow,
            is never cached, and makes new artifacts each time.
        fetched: Outputs that are copied here when a run on a platform has succeeded: by output, the one file of it
            that is needed, or "" for all of it.
        shown: Outputs that are copied to the top of the run folder, each with its name there.
    """

    component: base_component.BaseComponent
    cpu: str = "1"
    memory: str = "2G"
    trains: bool = False
    reads_source: bool = False
    is_cached: bool = True
    fetched: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted({*self.fetched, *self.shown} - set(self.outputs)):
            raise ValueError(
                f"pipelines/steps.py: {self.name} has no output {unknown[0]}; expected one of "
                f"{', '.join(self.outputs)}."
            )

    @property
    def name(self) -> str:
        """As in the graph, in run folders and in `mnist step NAME`: find-leaks for the function find_leaks."""
        return str(self.component.name)

    @property
    def image(self) -> str:
        """The container image of `components/__init__.py` that it runs in."""
        return str(self.component.component_spec.implementation.container.image)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of its output artifacts."""
        return tuple(self.component.component_spec.outputs or ())


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        # A source can change behind its name: a retraining with equal parameters must read it again.
        Step(ingest, reads_source=True, is_cached=False),
        Step(train, cpu="4", memory="8G", trains=True, fetched={"model": "model.json"}),
        Step(evaluate, fetched={"metrics": "metrics.json"}),
        Step(
            visualize,
            fetched={"report": "", "summary": "", "figures": ""},
            shown={"report": "report.html", "summary": "summary.md", "figures": "figures"},
        ),
    )
}


def read_step_name(command: Sequence[str]) -> str:
    """The name of the step that a command of KFP's executor runs, which has the name of its function."""
    return command[command.index("--function_to_execute") + 1].replace("_", "-")


def find_step(name: str) -> Step:
    """The row of a step.

    Raises:
        SettingError: There is none.
    """
    if name not in STEPS:
        expected = f"expected one of {', '.join(STEPS)}."
        raise SettingError(
            f"{name}: no such step; {suggest(name, STEPS, otherwise=expected)} Steps are listed in pipelines/steps.py."
        )
    return STEPS[name]
