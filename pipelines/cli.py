"""The `mnist` command: reads what a person wrote, calls what does it, shows what came out."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from kfp import compiler
from kfp.dsl import base_component
from rich.markup import escape
from rich.table import Table

from components.mnist.errors import MnistError, OutputError, SettingError, UnreachableError
from components.mnist.settings import Value
from pipelines import compilation, configuration, parameters, single_step, training
from pipelines.commands import doctor
from pipelines.commands import remote as remote_command
from pipelines.commands import schedule as schedule_command
from pipelines.commands.console import console, errors, refuse, show_metrics, show_path
from pipelines.commands.remote import Profiles
from pipelines.display import Display, show_download
from pipelines.run_folder import RunFolder, StepError
from pipelines.runners import docker, local

RUNNERS = {"local": local.run, "docker": docker.run}
# Called when a place is used: naming images asks git.
PLACES = {"local": training.Place, "docker": docker.place}

app = typer.Typer(
    help="Train, evaluate and look at an image classifier, on the MNIST digits or your own images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
On = Annotated[
    str, typer.Option("--on", help=f"Where: {', '.join(RUNNERS)}, or a profile of mnist.toml.", metavar="PLACE")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show everything that steps print, and tracebacks.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of all runs.", metavar="FOLDER")]
Pairs = Annotated[
    list[str] | None, typer.Argument(help="Parameters, as in epochs=10; see `mnist params`.", metavar="NAME=VALUE")
]


@app.command()
def run(
    pairs: Pairs = None,
    on: On = "local",
    runs: Runs = Path("runs"),
    verbose: Verbose = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow a run on a platform to its end, or only submit it.")
    ] = True,
    profiles: Profiles = configuration.FILE,
) -> None:
    """Run the whole pipeline and show what came out.

    A run on a platform ends with exit code 0 when it succeeded, 1 when it failed, 3 when it was cancelled.
    """
    defaults = parameters.read_defaults(training.build(training.Place()))
    given = parameters.parse_pairs(pairs or [], defaults)
    values = parameters.check_values(given, defaults)
    if on not in RUNNERS:
        profile = configuration.read_profile(on, profiles)
        remote_command.run(profile, {name: values[name] for name in given}, commit=_commit(), runs=runs, wait=wait)
        return
    pipeline = training.build(PLACES[on]())
    if "source" not in given:
        values["source"] = _available_source()
    new = RunFolder(runs, title="")
    new.link_as_latest()
    _execute(new, pipeline, values, on=on, verbose=verbose)
    show_metrics(new)
    if report := new.collect_report():
        console.print()
        show_path("report", report)


@app.command()
def step(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(training.STEPS)}.", metavar="NAME")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(help="Parameters, and a folder for each input artifact.", metavar="NAME=VALUE"),
    ] = None,
    on: On = "local",
    runs: Runs = Path("runs"),
    verbose: Verbose = False,
) -> None:
    """Run one component alone on artifact folders, as in: evaluate model=FOLDER test_data=FOLDER."""
    if name not in training.STEPS:
        raise SettingError(f"{name}: no such step; expected one of {', '.join(training.STEPS)}.")
    if on not in RUNNERS:
        raise SettingError(f"--on {on}: single steps run on this machine; expected {' or '.join(RUNNERS)}.")
    component = training.STEPS[name]
    inputs = single_step.read_inputs(component)
    defaults = parameters.read_defaults(training.build(training.Place()))
    own = {parameter: defaults[parameter] for parameter in inputs.parameters}
    given = parameters.parse_pairs(pairs or [], [*own, *inputs.artifacts])
    folders = single_step.check_folders(given, inputs)
    values = parameters.check_values({key: given[key] for key in given if key in own}, own)
    new = RunFolder(runs, title=name)
    _execute(new, single_step.build(component, values, folders, PLACES[on]()), {}, on=on, verbose=verbose)
    for output in component.component_spec.outputs or {}:
        path = new.steps / name / output
        if path.exists():  # metrics that only a pipeline's page shows have no file
            show_path(output, path)


@app.command("compile")
def compile_pipeline(
    on: On = "local",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.", metavar="FILE")] = None,
    profiles: Profiles = configuration.FILE,
) -> None:
    """Compile the pipeline to one YAML file for a place, as its platform takes it."""
    file = output or Path(f"{training.NAME}-{on}.yaml")
    if file.suffix not in (".yaml", ".yml"):
        raise SettingError(f"--output {file}: expected a name that ends with .yaml.")
    if on in RUNNERS:
        pipeline = training.build(PLACES[on]())
    else:
        profile = configuration.read_profile(on, profiles)
        pipeline = compilation.build_pipeline(profile)
        compilation.check_documents(profile, compilation.compile_documents(pipeline))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            compiler.Compiler().compile(pipeline, str(Path(folder, file.name)))
            Path(folder, file.name).replace(file)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error.strerror}). Name another: --output FILE.") from error
    console.print(escape(str(file)), soft_wrap=True)


app.command()(remote_command.follow)
app.command()(remote_command.cancel)
app.command()(doctor.doctor)
app.add_typer(schedule_command.app, name="schedule")


@app.command()
def params() -> None:
    """List every parameter, its default, what it takes, and its meaning."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("parameter", "default", "takes", "meaning"):
        table.add_column(column, no_wrap=column in ("parameter", "default"))
    for row in parameters.describe(parameters.read_defaults(training.build(training.Place()))):
        table.add_row(*map(escape, row))
    console.print(table)


def main() -> None:
    """Run the command; what the project refuses becomes one line and exit code 1."""
    # A plain kill, as `docker stop` or a scheduler sends, and a closed terminal end a run as cleanly as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        app()
    except MnistError as error:
        refuse(str(error))


def _available_source() -> str:
    """MNIST where it can be had; the sample where it can't, said aloud. Only a run on this machine falls back."""
    # Here, because the other commands start faster without what reads data.
    from components.mnist.data.sources import fetch_mnist

    try:
        with show_download(console, "MNIST") as show:
            fetch_mnist(show)
    except UnreachableError as error:
        console.print(
            f"[yellow]MNIST can't be had ({escape(str(error))}) Using source=sample.[/yellow]", soft_wrap=True
        )
        return "sample"
    return "mnist"


def _execute(
    new: RunFolder, pipeline: base_component.BaseComponent, values: Mapping[str, Value], *, on: str, verbose: bool
) -> None:
    """Run a pipeline in its folder; ends the command when it does not succeed."""
    started = time.monotonic()
    new.save(pipeline=pipeline.name, place=on, parameters=values, commit=_commit(), state="running")
    console.print(f"[dim]{escape(str(new.folder))}[/dim]", soft_wrap=True)
    try:
        RUNNERS[on](pipeline, values, run=new, display=Display(console, verbose=verbose))
    except StepError as failure:
        new.save(state="failed", failed_step=failure.step, error=failure.message)
        if verbose and failure.details:
            errors.print(escape(failure.details), soft_wrap=True)
        refuse(f"{failure.step}: {failure.message}", f"log: {failure.log}")
    except KeyboardInterrupt:
        new.save(state="interrupted")
        errors.print(f"Interrupted. What was done so far is in {escape(str(new.folder))}.", soft_wrap=True)
        raise typer.Exit(130) from None
    except BaseException as error:
        new.save(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    total = round(time.monotonic() - started, 1)
    new.save(state="succeeded", seconds_in_all=total)
    console.print(f"[bold]done[/bold] in {total} s")


def _commit() -> str:
    """The commit that this code is of, `-dirty` behind it when it was changed; empty outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
