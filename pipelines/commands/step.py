"""`mnist step`: run a single step."""

from collections.abc import Sequence
from pathlib import Path

from pipelines import parameters, single_step, training
from pipelines.commands.console import show_path
from pipelines.commands.local_run import execute
from pipelines.run_folder import RunFolder
from pipelines.runners.table import load_runner
from pipelines.steps import find_step


def run_step(name: str, pairs: Sequence[str], *, on: str, runs: Path, verbose: bool) -> None:
    """Run one step on artifact folders and print the paths of its outputs.

    Args:
        pairs: `name=value` for its parameters, `name=FOLDER` for each of its input artifacts.

    Raises:
        SettingError: There is no such step or runner, or a pair is unknown, missing or wrong.
    """
    component = find_step(name).component
    inputs = single_step.read_inputs(component)
    defaults = parameters.read_defaults(training.build(training.Placement()))
    given = parameters.parse_pairs(pairs, [*inputs.parameters, *inputs.artifacts], step=name)
    folders = single_step.check_folders(given, inputs)
    values = {parameter: defaults[parameter] for parameter in inputs.parameters}
    values |= parameters.check_values({key: given[key] for key in given if key in inputs.parameters})
    run = RunFolder(runs, title=name)
    pipeline = single_step.build(component, values, folders, load_runner(on).placement())
    run.save(parameters=values, artifacts={key: str(folder) for key, folder in folders.items()})
    execute(pipeline, {}, on=on, run=run, verbose=verbose)
    for output in find_step(name).outputs:
        path = run.steps / name / output
        if path.exists():  # metrics that only a pipeline's page shows have no file
            show_path(output, path)
