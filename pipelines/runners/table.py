"""The table of runners: each is a module of this package with the functions of `Runner`."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from kfp.dsl import base_component

    from components.mnist.settings import Value
    from pipelines.display import Display
    from pipelines.run_folder import RunFolder
    from pipelines.training import Placement

RUNNERS = {"local": "pipelines.runners.local", "docker": "pipelines.runners.docker"}


class Runner(Protocol):
    """Runs pipelines on this machine."""

    def placement(self) -> "Placement":
        """Return the placement of a pipeline for this runner."""

    def run(
        self,
        pipeline: "base_component.BaseComponent",
        arguments: "Mapping[str, Value]",
        *,
        run: "RunFolder",
        display: "Display",
    ) -> None:
        """Run a pipeline to its end in a run folder; raises `StepError` for the first step that fails."""


def load_runner(name: str) -> Runner:
    """Import a runner on demand: importing Docker's SDK and KFP is slow."""
    return cast(Runner, importlib.import_module(RUNNERS[name]))
