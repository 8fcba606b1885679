"""`mnist schedule`: the schedules of a profile, planned, brought in line with the file, looked at and steered."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from components.mnist.errors import SettingError
from pipelines import compilation, configuration
from pipelines.commands.console import console, errors
from pipelines.commands.remote import INTERRUPTED, OnProfile, Profiles
from pipelines.commands.schedule_screen import show_change, show_existing, show_times
from pipelines.platforms import remote_runs
from pipelines.platforms.base import Existing, PlatformClient
from pipelines.platforms.table import connect
from pipelines.profiles import Profile
from pipelines.schedules import apply as schedules
from pipelines.schedules import plan as schedule_changes
from pipelines.schedules.plan import Change

CHANGES = 2  # exit code of `plan --check`

app = typer.Typer(
    help="The schedules of a profile on its platform, as mnist.toml has them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Prune = Annotated[bool, typer.Option("--prune", help="Remove schedules of this profile that are in no file any more.")]
Check = Annotated[bool, typer.Option("--check", help="End with exit code 2 when apply would change something.")]
Name = Annotated[str, typer.Argument(help="Of a schedule in the file, or an id that `list` shows.", metavar="NAME")]


@app.command()
def plan(on: OnProfile, prune: Prune = False, check: Check = False, profiles: Profiles = configuration.FILE) -> None:
    """Show what apply would change, and why.

    Changes nothing. Shows also when each schedule fires next, in its time zone.
    """
    now = datetime.now(UTC)
    _, _, changes = _plan(on, profiles, prune=prune, now=now)
    for change in changes:
        show_change(change, changes)
        show_times(change, now=now)
    count = sum(change.kind.is_change for change in changes)
    if count == 0:
        console.print("Nothing to change.")
        return
    console.print(f"{count} to change, by: {escape(_spell_apply(on, profiles, prune=prune))}", soft_wrap=True)
    if check:
        raise typer.Exit(CHANGES)


@app.command()
def apply(on: OnProfile, prune: Prune = False, profiles: Profiles = configuration.FILE) -> None:
    """Make it as it is in the file.

    What is as it should be is left alone; what changed is replaced without a gap. May be repeated at any time.

    Missed times are not made up for; only where a run on Kubeflow takes longer than the interval, the last time that it
    kept from firing fires when it has ended.
    """
    again = _spell_apply(on, profiles, prune=prune)
    with _finished_by(again):
        platform, profile, changes = _plan(on, profiles, prune=prune, now=datetime.now(UTC))
        failures = schedules.apply(
            platform,
            changes,
            profile=profile.name,
            show=lambda change: show_change(change, changes, done=True),
        )
    for change, error in failures:
        errors.print(f"[red]{escape(f'{change.kind} {change.name}: {error}')}[/red]", soft_wrap=True)
    if failures:
        errors.print(f"{len(failures)} not done. Once that is mended: {escape(again)}", soft_wrap=True)
        raise typer.Exit(1)
    if not any(change.kind.is_change for change in changes):
        console.print("Nothing to change.")


@app.command("list")
def list_schedules(on: OnProfile, profiles: Profiles = configuration.FILE) -> None:
    """List what stands, also what others made."""
    profile = configuration.read_profile(on, profiles)
    existing = sorted(connect(profile).list_schedules(), key=lambda each: (schedules.name_of(each), each.created))
    own = [each for each in existing if each.mark and each.mark.profile == profile.name]
    others = [each for each in existing if each not in own]
    for each in own:
        show_existing(each, own, owner="")
    if not own:
        console.print(f"None of profile {profile.name}.")
    if others:
        console.print("Of others, never touched:")
    for each in others:
        show_existing(each, others, owner=f", profile {each.mark.profile}" if each.mark else "")


@app.command()
def pause(name: Name, on: OnProfile, profiles: Profiles = configuration.FILE) -> None:
    """Let a schedule fire nothing for a while.

    Until it is resumed, also across every apply of a file that does not say paused = false.
    """
    profile, platform, found = _find(name, on, profiles)
    for each in found:
        if each.ended:
            console.print(f"ended    {escape(schedules.name_of(each))}: fires nothing any more", soft_wrap=True)
            continue
        platform.pause_schedule(each.id)
        console.print(f"paused   {escape(schedules.name_of(each))}", soft_wrap=True)
    _remind(profile, found, paused=True)


@app.command()
def resume(name: Name, on: OnProfile, profiles: Profiles = configuration.FILE) -> None:
    """Let a paused schedule fire again.

    Times that it missed while it was paused are not made up for.
    """
    profile, platform, found = _find(name, on, profiles)
    each = _only(found, name, on)
    if each.ended:
        raise SettingError(
            f"{name}: has ended and will not fire again. Change its end in {profiles}, then: mnist schedule apply "
            f"--on {on}"
        )
    platform.resume_schedule(each.id)
    console.print(f"resumed  {escape(schedules.name_of(each))}", soft_wrap=True)
    _remind(profile, found, paused=False)


@app.command("run-now")
def run_now(name: Name, on: OnProfile, profiles: Profiles = configuration.FILE) -> None:
    """Start a run of a schedule now.

    With the pipeline and parameters that it has on the platform; its times stay as they are.
    """
    _, platform, found = _find(name, on, profiles)
    each = _only(found, name, on)
    run_id = platform.run_schedule(each.id, name=remote_runs.new_name(schedules.name_of(each)))
    console.print(f"run   [bold]{escape(run_id)}[/bold]", soft_wrap=True)
    console.print(f"page  {escape(platform.link(run_id))}", soft_wrap=True)
    console.print(f"follow it: mnist follow {escape(run_id)} --on {escape(on)}", soft_wrap=True)


@app.command()
def delete(name: Name, on: OnProfile, profiles: Profiles = configuration.FILE) -> None:
    """Remove a schedule from the platform.

    Runs that it started go on.
    """
    try:
        profile, platform, found = _find(name, on, profiles)
    except SettingError:
        if name not in [schedule.name for schedule in configuration.read_profile(on, profiles).schedules]:
            raise
        console.print(
            f"{escape(name)}: none stands on the platform, nothing to remove. It is in {escape(str(profiles))}: the "
            "next apply makes it.",
            soft_wrap=True,
        )
        return
    for each in found:
        platform.delete_schedule(each.id)
        console.print(f"removed  {escape(schedules.name_of(each))}", soft_wrap=True)
    if schedules.name_of(found[0]) in [schedule.name for schedule in profile.schedules]:
        console.print(f"It is still in {escape(str(profiles))}: the next apply makes it again.", soft_wrap=True)


def _plan(on: str, file: Path, *, prune: bool, now: datetime) -> tuple[PlatformClient, Profile, list[Change]]:
    profile = configuration.read_profile(on, file)
    platform = connect(profile)
    desired = schedules.prepare(profile, build=compilation.build_job, check=platform.check_schedule, now=now)
    return platform, profile, schedule_changes.plan(profile.name, desired, platform.list_schedules(), prune=prune)


def _spell_apply(on: str, file: Path, *, prune: bool) -> str:
    options = f"{' --prune' if prune else ''}{f' --profiles {file}' if file != configuration.FILE else ''}"
    return f"mnist schedule apply --on {on}{options}"


@contextmanager
def _finished_by(again: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        errors.print(
            f"Interrupted. What was changed so far stays; what is left, also of a schedule half replaced, is done by: "
            f"{escape(again)}",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _find(name: str, on: str, file: Path) -> tuple[Profile, PlatformClient, list[Existing]]:
    profile = configuration.read_profile(on, file)
    platform = connect(profile)
    return profile, platform, schedules.find(name, profile.name, platform.list_schedules())


def _only(found: list[Existing], name: str, on: str) -> Existing:
    if len(found) > 1:
        ids = ", ".join(each.id for each in found)
        raise SettingError(
            f"{name}: stands {len(found)} times ({ids}), as an interrupted apply leaves it. Finish it: mnist schedule "
            f"apply --on {on}"
        )
    return found[0]


def _remind(profile: Profile, found: Iterable[Existing], *, paused: bool) -> None:
    """Say when the file wants the contrary."""
    names = {schedules.name_of(each) for each in found}
    for schedule in profile.schedules:
        if schedule.name in names and schedule.paused is not None and schedule.paused != paused:
            then = "pauses" if schedule.paused else "resumes"
            console.print(
                f"[yellow]The file says paused = {str(schedule.paused).lower()}: the next apply {then} it.[/yellow]",
                soft_wrap=True,
            )
