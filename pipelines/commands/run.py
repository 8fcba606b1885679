"""`mnist run`: run the whole pipeline, by a runner or on a platform."""

from collections.abc import Mapping
from pathlib import Path

from components.mnist.errors import UnreachableError
from components.mnist.settings import Value
from pipelines import configuration, parameters, training
from pipelines.commands.console import console, show_metrics, show_path
from pipelines.commands.local_run import execute
from pipelines.commands.remote import submit_run
from pipelines.display import show_download
from pipelines.run_folder import RunFolder
from pipelines.runners.table import RUNNERS, load_runner


def run_pipeline(given: Mapping[str, Value], *, on: str, runs: Path, verbose: bool, wait: bool, profiles: Path) -> None:
    """Run the pipeline, show the results, and end the command according to the run's final state.

    Args:
        given: Parameters that differ from the defaults.
        on: A runner, or a profile of the file `profiles`.
        wait: Whether a run on a platform is followed to its end.
    """
    if on not in RUNNERS:
        submit_run(configuration.read_profile(on, profiles), given, runs=runs, wait=wait)
        return
    pipeline = training.build(load_runner(on).placement())
    values = parameters.read_defaults(pipeline) | dict(given)
    if "source" not in given:
        values["source"] = _find_available_source()
    run = RunFolder(runs, title="")
    run.link_as_latest()
    run.save(parameters=values)
    execute(pipeline, values, on=on, run=run, verbose=verbose)
    show_metrics(run)
    if report := run.collect_report():
        console.print()
        show_path("report", report)


def _find_available_source() -> str:
    """Return "mnist" if it can be fetched, else "sample". Only runs on this machine fall back."""
    # Imported late: a run on a platform reads no data here.
    from components.mnist.data.sources import fetch_mnist

    try:
        with show_download(console, "MNIST") as show:
            fetch_mnist(show)
    except UnreachableError as error:
        console.out(f"MNIST cannot be fetched ({error}) Using source=sample.", style="yellow")
        return "sample"
    return "mnist"
