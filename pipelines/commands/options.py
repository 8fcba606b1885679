"""Options and arguments that more than one command has. Imports nothing slow: help and shell completion read this."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from components.mnist.settings import SETTINGS
from pipelines.runners.table import RUNNERS

PROFILES = Path("mnist.toml")


def _complete_pair(incomplete: str) -> Iterator[str]:
    name, equals, _ = incomplete.partition("=")
    if equals and name in SETTINGS:
        setting = SETTINGS[name]
        choices = ("true", "false") if setting.kind is bool else setting.choices
        yield from (f"{name}={choice}" for choice in choices)
    else:
        yield from (f"{known}=" for known in SETTINGS)


def _complete_on(incomplete: str) -> Iterator[str]:
    # Imported here: only a Tab waits for it.
    from pipelines import configuration

    yield from (*RUNNERS, *configuration.read_names(PROFILES))


def _complete_step(incomplete: str) -> Iterator[str]:
    # Imported here: the table of steps holds KFP components, and KFP takes a second to import.
    from pipelines.steps import STEPS

    yield from STEPS


def _complete_profile(incomplete: str) -> Iterator[str]:
    yield from (name for name in _complete_on(incomplete) if name not in RUNNERS)


class WithParameters(TyperCommand):
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


Pairs = Annotated[
    list[str] | None,
    typer.Argument(help="Parameters, as in epochs=10.", metavar="NAME=VALUE", autocompletion=_complete_pair),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        help=f"The runner ({' or '.join(RUNNERS)}) or a profile of mnist.toml.",
        metavar="RUNNER|PROFILE",
        autocompletion=_complete_on,
    ),
]
OnRunner = Annotated[
    str,
    typer.Option(
        "--on", help=f"The runner: {' or '.join(RUNNERS)}.", metavar="RUNNER", autocompletion=lambda: [*RUNNERS]
    ),
]
OnProfile = Annotated[
    str,
    typer.Option("--on", help="A profile of mnist.toml.", metavar="PROFILE", autocompletion=_complete_profile),
]
StepName = Annotated[
    str, typer.Argument(help="The step: ingest, train, ...", metavar="NAME", autocompletion=_complete_step)
]
Profiles = Annotated[Path, typer.Option("--profiles", help="The file that has the profiles.", metavar="FILE")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of all runs.", metavar="FOLDER")]
RunId = Annotated[str, typer.Argument(help="The run's id, as `mnist run` printed it.", metavar="RUN")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show everything that steps print, and tracebacks.")]
