"""`mnist doctor`: what is missing for a run, and how to fix it. It changes nothing."""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.markup import escape

from components.mnist.errors import SettingError
from pipelines import configuration
from pipelines.checks import Check, Finding, Verdict, ok, perform
from pipelines.commands.console import console
from pipelines.doctor import engine, machine
from pipelines.platforms.table import PLATFORMS

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILING: "bold red", Verdict.SKIPPED: "dim"}
VERDICT_WIDTH = max(map(len, Verdict))
NAME_WIDTH = len("GPU in containers")
LOCAL, DOCKER = "local", "docker"
HERE = "this machine"


@dataclass(frozen=True)
class Section:
    """Checks under one heading.

    Attributes:
        optional: Nothing in it is needed by who named no place: what fails is a warning.
    """

    title: str
    checks: list[Check]
    optional: bool = False


def examine(on: str | None, profiles: Path) -> None:
    """Make every check for a runner or a profile and print a line for each; ends with exit code 1 when one fails.

    Args:
        on: None for this machine, and containers as far as they are installed.
    """
    # Libraries log each try; what comes of it is in the check's line.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    counts: Counter[Verdict] = Counter()
    passed: dict[str, bool] = {}
    for section in _choose(on, profiles):
        console.print(f"[bold]{escape(section.title)}[/bold]")
        for check in section.checks:
            with console.status(f"{check.name} ..."):  # shown on a terminal only
                finding = perform(check, passed)
            if section.optional and finding.verdict is Verdict.FAILING:
                finding = replace(finding, verdict=Verdict.WARNING)
            counts[finding.verdict] += 1
            _show(check.name, finding)
    _sum_up(counts)
    if counts[Verdict.FAILING]:
        raise typer.Exit(1)


def _choose(on: str | None, file: Path) -> list[Section]:
    if on is None:
        return [
            Section(HERE, machine.for_runs_here(file)),
            Section("containers, for --on docker", engine.for_containers(), optional=True),
        ]
    if on == LOCAL:
        return [Section(HERE, machine.for_runs_here(file))]
    if on == DOCKER:
        return [Section(HERE, machine.for_containers()), Section("containers", engine.for_containers())]
    return [Section(HERE, machine.for_platforms()), Section(f"{on}, a profile of {file}", _for_profile(on, file))]


def _for_profile(name: str, file: Path) -> list[Check]:
    try:
        profile = configuration.read_profile(name, file)
    except SettingError as error:
        found = Finding(Verdict.FAILING, str(error))
        return [Check("profile", lambda: found)]
    return [Check("profile", lambda: ok(profile.title)), *PLATFORMS[profile.platform].list_checks(profile)]


def _show(name: str, finding: Finding) -> None:
    style = STYLES[finding.verdict]
    verdict = f"[{style}]{finding.verdict:<{VERDICT_WIDTH}}[/{style}]"
    console.print(f"  {verdict}  {escape(name):<{NAME_WIDTH}}  {escape(finding.text)}", soft_wrap=True)


def _sum_up(counts: Counter[Verdict]) -> None:
    told = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    console.print(f"[bold]{', '.join(told)}[/bold]")
