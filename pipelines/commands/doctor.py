"""`mnist doctor`: what is missing for a run at a place, and what mends it. It changes nothing.

What is looked at, place by place, is in `pipelines/checks`.
"""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from components.mnist.errors import SettingError
from pipelines import configuration
from pipelines.checks import Check, Finding, Verdict, ok, perform
from pipelines.commands.console import console
from pipelines.commands.remote import Profiles
from pipelines.profiles import VertexProfile

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILING: "bold red", Verdict.SKIPPED: "dim"}
VERDICT_WIDTH = max(map(len, Verdict))
NAME_WIDTH = len("GPU in containers")
LOCAL, DOCKER = "local", "docker"
HERE = "this machine"

Place = Annotated[str | None, typer.Option("--on", help="local, docker, or a profile of mnist.toml.", metavar="PLACE")]


@dataclass(frozen=True)
class Section:
    """Checks under one heading.

    Attributes:
        optional: Nothing in it is needed by who named no place: what fails is a warning.
    """

    title: str
    checks: list[Check]
    optional: bool = False


def doctor(on: Place = None, profiles: Profiles = configuration.FILE) -> None:
    """Check what a run needs at a place before anyone waits for it, and say what mends it. Nothing is changed.

    Without --on: this machine, and containers as far as they are there. Exit code 1 when anything fails.
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
    # Imported late: every command loads this module, and starts faster without what the checks need.
    from pipelines.doctor import engine, machine

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
    # Imported late: the platforms' clients take seconds to load.
    if isinstance(profile, VertexProfile):
        from pipelines.platforms.vertex import checks as vertex_checks

        where = f"Vertex AI, {profile.project} in {profile.region}"
        return [Check("profile", lambda: ok(where)), *vertex_checks.for_profile(profile)]
    from pipelines.platforms.kubeflow import checks as kubeflow_checks

    where = f"Kubeflow Pipelines at {profile.host}"
    return [Check("profile", lambda: ok(where)), *kubeflow_checks.for_profile(profile)]


def _show(name: str, finding: Finding) -> None:
    style = STYLES[finding.verdict]
    verdict = f"[{style}]{finding.verdict:<{VERDICT_WIDTH}}[/{style}]"
    console.print(f"  {verdict}  {escape(name):<{NAME_WIDTH}}  {escape(finding.text)}", soft_wrap=True)


def _sum_up(counts: Counter[Verdict]) -> None:
    told = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    console.print(f"[bold]{', '.join(told)}[/bold]")
