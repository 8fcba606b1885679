"""The `mnist` command: names, options and help of every command; `pipelines/commands/` does the work.

Each command imports its work when it is called, so that help, completion and usage errors are instant.
"""

import signal
from pathlib import Path
from typing import Annotated

import typer

from components.mnist.errors import MnistError
from components.mnist.settings import SETTINGS
from pipelines.commands import schedule as schedule_command
from pipelines.commands.options import (
    PROFILES,
    Command,
    Inputs,
    On,
    OnChecked,
    OnProfile,
    OnRunner,
    Output,
    Pairs,
    Profiles,
    RunId,
    Runs,
    StepName,
    Verbose,
    WithParameters,
)
from pipelines.parameters import check_values, parse_pairs

app = typer.Typer(
    help="Train, evaluate and look at an image classifier, on the MNIST digits or your own images.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        from pipelines import container_images

        typer.echo(f"mnist {version('mnist-pipeline')}, code {container_images.code() or 'unknown'}")
        raise typer.Exit


@app.callback()
def options(
    is_version_asked: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version, and the name of this code.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train, evaluate and look at an image classifier, on the MNIST digits or your own images."""


@app.command(cls=WithParameters)
def run(
    pairs: Pairs = None,
    on: On = "local",
    runs: Runs = Path("runs"),
    verbose: Verbose = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="On a platform: follow the run to its end, or only submit it.")
    ] = True,
    profiles: Profiles = PROFILES,
) -> None:
    """Run the whole pipeline and show the results.

    A run on a platform ends with exit code 0 when it succeeded, 1 when it failed, 3 when it was cancelled.
    """
    # Checked before anything slow is imported.
    given = check_values(parse_pairs(pairs or [], SETTINGS))

    from pipelines.commands.run import run_pipeline

    run_pipeline(given, on=on, runs=runs, verbose=verbose, wait=wait, profiles=profiles)


@app.command(cls=Command)
def step(
    name: StepName,
    pairs: Inputs = None,
    on: OnRunner = "local",
    runs: Runs = Path("runs"),
    verbose: Verbose = False,
) -> None:
    """Run one step alone on artifact folders.

    For example: mnist step evaluate model=FOLDER test_data=FOLDER
    """
    from pipelines.commands.step import run_step

    run_step(name, pairs or [], on=on, runs=runs, verbose=verbose)


@app.command("compile")
def compile_pipeline(on: On = "local", output: Output = None, profiles: Profiles = PROFILES) -> None:
    """Compile the pipeline to a YAML file.

    It is the file that the runner or the platform takes.
    """
    from pipelines.commands.compile import compile_to_file

    compile_to_file(on, output, profiles)


@app.command()
def params() -> None:
    """List every parameter with its meaning."""
    from pipelines.commands.params import show_parameters

    show_parameters()


@app.command(cls=Command)
def follow(run_id: RunId, on: OnProfile, runs: Runs = Path("runs"), profiles: Profiles = PROFILES) -> None:
    """Follow a run on a platform to its end.

    Then its metrics and report are fetched.
    """
    from pipelines.commands.remote import follow_run

    follow_run(run_id, on, runs=runs, profiles=profiles)


@app.command(cls=Command)
def cancel(run_id: RunId, on: OnProfile, profiles: Profiles = PROFILES) -> None:
    """Cancel a run on a platform."""
    from pipelines.commands.remote import cancel_run

    cancel_run(run_id, on, profiles=profiles)


@app.command()
def doctor(on: OnChecked = None, profiles: Profiles = PROFILES) -> None:
    """Check what a run needs, and say how to fix what is missing.

    It changes nothing. Without --on it checks this machine, and containers as far as they are installed. The exit
    code is 1 when a check fails.
    """
    from pipelines.commands.doctor import examine

    examine(on, profiles)


app.add_typer(schedule_command.app, name="schedule")


def main() -> None:
    """Run the command; what the project refuses becomes one line and exit code 1."""
    # A plain kill, as `docker stop` or a scheduler sends, and a closed terminal end a run as cleanly as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        app()
    except MnistError as error:
        from pipelines.commands.console import refuse

        refuse(str(error))
