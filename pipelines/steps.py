"""The table of steps: component, resources and outputs of each. A new step is one row here, and a task in the graph.

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
        component: The interface, from its module in `components/`.
        cpu, memory: Request and limit of its container, unless a profile overrides them; "500m", "8G".
        trains: Whether it gets the accelerator, the trainer's machine and retries.
        reads_source: Whether it has the parameter `source`, and so needs the network, or the user's files or
            credentials.
        is_cached: Whether a platform may take its outputs from the cache. Rarely across runs: ingest, which all
            steps depend on, is never cached and creates new artifacts each time.
        fetched: Outputs to fetch after a run on a platform has succeeded: by output, the file to fetch, or "" for all.
        shown: Outputs to copy to the top of the run folder, with their names there.
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
        """Name in the graph, in run folders and in `mnist step NAME`: find-leaks for the function find_leaks."""
        return str(self.component.name)

    @property
    def image(self) -> str:
        """Container image, one of `components/__init__.py`."""
        return str(self.component.component_spec.implementation.container.image)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output artifacts."""
        return tuple(self.component.component_spec.outputs or ())


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        # The data of a source can change: a retraining with equal parameters must read it again.
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
    """Read the name of the step from a command of KFP's executor, which contains the name of its function."""
    return command[command.index("--function_to_execute") + 1].replace("_", "-")


def find_step(name: str) -> Step:
    """Return the row of a step.

    Raises:
        SettingError: There is no such step.
    """
    if name not in STEPS:
        expected = f"expected one of {', '.join(STEPS)}."
        raise SettingError(
            f"{name}: no such step; {suggest(name, STEPS, otherwise=expected)} Steps are listed in pipelines/steps.py."
        )
    return STEPS[name]
