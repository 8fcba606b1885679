"""`mnist doctor`: report what is missing for a run and how to fix it. It changes nothing."""

import logging
from collections import Counter
from collections.abc import Callable
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
from pipelines.runners.table import RUNNERS

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILING: "bold red", Verdict.SKIPPED: "dim"}
VERDICT_WIDTH = max(map(len, Verdict))
NAME_WIDTH = len("GPU in containers")
HERE = "this machine"


@dataclass(frozen=True)
class Section:
    """Checks under one heading.

    Attributes:
        optional: A run without --on does not need these checks: failures are warnings.
    """

    title: str
    checks: list[Check]
    optional: bool = False


# A row for each runner of `pipelines/runners/table.py`.
RUNNER_SECTIONS: dict[str, Callable[[Path], list[Section]]] = {
    "local": lambda file: [Section(HERE, machine.for_runs_here(file))],
    "docker": lambda _: [Section(HERE, machine.for_containers()), Section("containers", engine.for_containers())],
}


def examine(on: str | None, profiles: Path) -> None:
    """Make all checks for a runner or a profile and print a line for each; end with exit code 1 if one fails.

    Args:
        on: None for this machine, with containers as optional checks.
    """
    # Libraries log each try; the check's line has the result.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    counts: Counter[Verdict] = Counter()
    passed: dict[str, bool] = {}
    for section in _choose(on, profiles):
        console.out(section.title, style="bold")
        for check in section.checks:
            with console.status(f"{check.name} ..."):  # shown on a terminal only
                finding = perform(check, passed)
            if section.optional and finding.verdict is Verdict.FAILING:
                finding = replace(finding, verdict=Verdict.WARNING)
            counts[finding.verdict] += 1
            style = STYLES[finding.verdict]
            verdict = f"[{style}]{finding.verdict:<{VERDICT_WIDTH}}[/{style}]"
            console.print(f"  {verdict}  {check.name:<{NAME_WIDTH}}  {escape(finding.text)}", soft_wrap=True)
    console.out(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]), style="bold")
    if counts[Verdict.FAILING]:
        raise typer.Exit(1)


def _choose(on: str | None, file: Path) -> list[Section]:
    if on is None:
        return [
            Section(HERE, machine.for_runs_here(file)),
            Section("containers, for --on docker", engine.for_containers(), optional=True),
        ]
    if on in RUNNERS:
        return RUNNER_SECTIONS[on](file)
    try:
        profile = configuration.read_profile(on, file)
    except SettingError as error:
        found = Finding(Verdict.FAILING, str(error))
        checks = [Check("profile", lambda: found)]
    else:
        checks = [Check("profile", lambda: ok(profile.title)), *PLATFORMS[profile.platform].list_checks(profile)]
    return [Section(HERE, machine.for_platforms()), Section(f"{on}, a profile of {file}", checks)]
