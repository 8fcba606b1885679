"""Options and arguments that more than one command has, each with its early check and its completion.

Imports nothing slow: help, usage errors and shell completion read this.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from components.mnist.errors import SettingError, suggest
from components.mnist.settings import SETTINGS
from pipelines.commands import completion
from pipelines.names import explain_unknown, list_inputs, list_steps, read_tables
from pipelines.parameters import check_values, parse_pairs
from pipelines.runners.table import RUNNERS

PROFILES = Path("mnist.toml")

Check = Callable[[typer.Context, Any], None]


class Command(TyperCommand):
    """A command whose usage line is without Typer's braces, and that explains a parameter written as an option."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line: NAME, where Typer has {NAME}."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; those such as --epochs 5 get the hint that a parameter is written epochs=5."""
        takes_parameters = any(param.name == "pairs" for param in self.params)
        if takes_parameters and not ctx.resilient_parsing:
            for word, following in zip(args, [*args[1:], "-"], strict=False):
                option, equals, value = word.partition("=")
                name = option.removeprefix("--").replace("-", "_")
                if option.startswith("--") and name in SETTINGS:
                    if not equals:
                        value = "VALUE" if following.startswith("-") else following
                    ctx.fail(f"No such option: {option}; did you mean {name}={value}?")
        return super().parse_args(ctx, args)


class WithParameters(Command):
    """A command whose help ends with the pipeline's parameters."""

    def format_epilog(self, ctx: "typer.Context", formatter: object) -> None:  # type: ignore[override]
        """List each parameter with its default, what it takes and its meaning."""
        # Imported here: the defaults are in the pipeline's signature, and KFP takes a second to import.
        from pipelines import parameters, training

        rows = parameters.describe(parameters.read_defaults(training.build(training.Placement())))
        with formatter.section("Parameters"):  # type: ignore[attr-defined]
            formatter.write_dl(  # type: ignore[attr-defined]
                [(f"{name}={default}", f"{meaning} ({takes})") for name, default, takes, meaning in rows]
            )


def _callback(check: Check) -> Callable[[typer.Context, Any], Any]:
    """Let Typer check a value as soon as it is parsed, though not while the shell completes."""

    def callback(ctx: typer.Context, value: Any) -> Any:
        if not ctx.resilient_parsing:
            check(ctx, value)
        return value

    return callback


def _check_on(ctx: typer.Context, on: str) -> None:
    if on not in RUNNERS:
        _check_profile(ctx, on, runners=tuple(RUNNERS))


def _check_profile(ctx: typer.Context, on: str, *, runners: tuple[str, ...] = ()) -> None:
    file = ctx.params["profiles"]
    if on in RUNNERS:
        raise SettingError(
            f"--on {on}: runs on this machine cannot be followed, cancelled or scheduled; expected a profile of {file}."
        )
    try:
        tables = read_tables(file)
    except (OSError, ValueError):
        return  # the command itself says what is wrong with the file
    if on not in tables:
        raise explain_unknown(on, file, tables, runners=runners)


def _check_runner(ctx: typer.Context, on: str) -> None:
    if on not in RUNNERS:
        hint = suggest(on, RUNNERS, otherwise=f"expected {' or '.join(RUNNERS)}.")
        raise SettingError(f"--on {on}: single steps run on this machine; {hint}")


def _check_step(ctx: typer.Context, name: str) -> None:
    steps = list_steps()
    if name not in steps:
        hint = suggest(name, steps, otherwise=f"expected one of {', '.join(steps)}.")
        raise SettingError(f"{name}: no such step; {hint}")


def _check_inputs(ctx: typer.Context, pairs: list[str] | None) -> None:
    step = ctx.params["name"]
    given = parse_pairs(pairs or [], list_inputs(step), step=step)
    check_values({name: value for name, value in given.items() if name in SETTINGS})


def _check_output(ctx: typer.Context, output: Path | None) -> None:
    if output and output.suffix not in (".yaml", ".yml"):
        raise SettingError(f"--output {output}: expected a name that ends with .yaml.")


Pairs = Annotated[
    list[str] | None,
    typer.Argument(help="Parameters, as in epochs=10.", metavar="NAME=VALUE", autocompletion=completion.complete_pair),
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Parameters, and a folder for each input artifact.",
        metavar="NAME=VALUE",
        callback=_callback(_check_inputs),
        autocompletion=completion.complete_input,
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        help=f"The runner ({' or '.join(RUNNERS)}) or a profile of mnist.toml.",
        metavar="RUNNER|PROFILE",
        callback=_callback(_check_on),
        autocompletion=completion.complete_on,
    ),
]
# For `mnist doctor`, which reports an unknown name as one of its findings.
OnChecked = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="The runner or profile that a run would use.",
        metavar="RUNNER|PROFILE",
        autocompletion=completion.complete_on,
    ),
]
OnRunner = Annotated[
    str,
    typer.Option(
        "--on",
        help=f"The runner: {' or '.join(RUNNERS)}.",
        metavar="RUNNER",
        callback=_callback(_check_runner),
        autocompletion=completion.complete_runner,
    ),
]
OnProfile = Annotated[
    str,
    typer.Option(
        "--on",
        help="A profile of mnist.toml.",
        metavar="PROFILE",
        callback=_callback(_check_profile),
        autocompletion=completion.complete_profile,
    ),
]
StepName = Annotated[
    str,
    typer.Argument(
        help="The step: ingest, train, ...",
        metavar="NAME",
        callback=_callback(_check_step),
        autocompletion=completion.complete_step,
    ),
]
ScheduleName = Annotated[
    str,
    typer.Argument(
        help="A schedule's name in the file, or its id from `list`.",
        metavar="NAME",
        autocompletion=completion.complete_schedule,
    ),
]
# Eager, and so parsed before --on, whose check reads the file.
Profiles = Annotated[
    Path,
    typer.Option("--profiles", help="The file that has the profiles of platforms.", metavar="FILE", is_eager=True),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write.", metavar="FILE", callback=_callback(_check_output)),
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of all runs.", metavar="FOLDER")]
RunId = Annotated[str, typer.Argument(help="The run's id, as `mnist run` printed it.", metavar="RUN")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show everything that steps print, and tracebacks.")]
