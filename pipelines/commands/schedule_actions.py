"""The implementation of the commands of `mnist schedule` (`pipelines/commands/schedule.py`)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer

from components.mnist.errors import SettingError
from pipelines.commands.console import console, errors
from pipelines.commands.local_run import INTERRUPTED
from pipelines.commands.options import PROFILES
from pipelines.commands.schedule_screen import show_change, show_existing, show_times
from pipelines.compilation import build_job
from pipelines.configuration import read_profile
from pipelines.platforms.base import Existing, PlatformClient
from pipelines.platforms.remote_runs import new_name
from pipelines.platforms.table import connect
from pipelines.profiles import Profile
from pipelines.schedules.apply import apply_changes, prepare_schedules
from pipelines.schedules.lookup import find_schedule, find_schedules, name_of
from pipelines.schedules.plan import Change, plan_changes

NOTHING = "Nothing to change."


def show_plan(on: str, profiles: Path, *, prune: bool) -> bool:
    """Show the changes of apply and the next times of each schedule; return whether there are changes."""
    now = datetime.now(UTC)
    changes = _plan(*_connect(on, profiles), prune=prune, now=now)
    for change in changes:
        show_change(change, changes)
        show_times(change, now=now)
    count = sum(change.kind.is_change for change in changes)
    plural = "" if count == 1 else "s"
    console.out(f"{count} change{plural}; to apply: {_spell_apply(on, profiles, prune)}" if count else NOTHING)
    return count > 0


def apply_plan(on: str, profiles: Path, *, prune: bool) -> None:
    """Make the platform's schedules match the file; end with exit code 1 if a change failed."""
    again = _spell_apply(on, profiles, prune)
    with _interruptible(f"Changes made so far stay. To finish, including a half-replaced schedule: {again}"):
        platform, profile = _connect(on, profiles)
        changes = _plan(platform, profile, prune=prune, now=datetime.now(UTC))
        failures = apply_changes(
            platform, changes, profile=profile.name, show=lambda change: show_change(change, changes, done=True)
        )
    for change, error in failures:
        errors.out(f"{change.kind} {change.name}: {error}", style="red")
    if failures:
        errors.out(f"{len(failures)} not done. Fix the cause, then repeat: {again}")
        raise typer.Exit(1)
    if not any(change.kind.is_change for change in changes):
        console.out(NOTHING)


def list_existing(on: str, profiles: Path) -> None:
    """List the profile's schedules on the platform, then those that others created."""
    platform, profile = _connect(on, profiles)
    existing = sorted(platform.list_schedules(), key=lambda each: (name_of(each), each.created))
    own = [each for each in existing if each.mark and each.mark.profile == profile.name]
    others = [each for each in existing if each not in own]
    if not own:
        console.out(f"Profile {profile.name} has no schedules on the platform.")
    show_existing(own, profile.name)
    if others:
        console.out("Created by others, never changed:")
    show_existing(others, profile.name)


def pause_schedule(name: str, on: str, profiles: Path) -> None:
    """Pause all schedules of a name that have not ended: an interrupted apply may have left two."""
    platform, profile = _connect(on, profiles)
    found = find_schedules(name, profile.name, platform.list_schedules())
    for each in found:
        if each.ended:
            console.out(f"ended    {name_of(each)}: it never fires again")
            continue
        platform.pause_schedule(each.id)
        console.out(f"paused   {name_of(each)}")
    _warn_of_opposite(profile, found, paused=True)


def resume_schedule(name: str, on: str, profiles: Path) -> None:
    """Resume a schedule, unless it has ended."""
    platform, profile = _connect(on, profiles)
    found = find_schedule(name, profile.name, platform.list_schedules())
    if found.ended:
        raise SettingError(
            f"{name}: has ended and will not fire again. Change its end in {profiles}, then: mnist schedule apply "
            f"--on {on}"
        )
    platform.resume_schedule(found.id)
    console.out(f"resumed  {name_of(found)}")
    _warn_of_opposite(profile, [found], paused=False)


def run_schedule(name: str, on: str, profiles: Path) -> None:
    """Start a run of a schedule and print its page."""
    platform, profile = _connect(on, profiles)
    found = find_schedule(name, profile.name, platform.list_schedules())
    run_name = new_name(name_of(found))
    with _interruptible(
        f"The run {run_name} may or may not have been started. Look for this name on the platform's page of runs."
    ):
        run_id = platform.run_schedule(found.id, name=run_name)
    console.out(f"run   {run_id}")
    console.out(f"page  {platform.link(run_id)}")
    console.out(f"follow it: mnist follow {run_id} --on {on}")


def delete_schedule(name: str, on: str, profiles: Path) -> None:
    """Delete all schedules of a name; a name that is only in the file is no error, so that this can be repeated."""
    platform, profile = _connect(on, profiles)
    in_file = [schedule.name for schedule in profile.schedules]
    try:
        found = find_schedules(name, profile.name, platform.list_schedules())
    except SettingError:
        if name not in in_file:
            raise
        console.out(f"{name}: not on the platform, nothing to remove. It is in {profiles}: the next apply creates it.")
        return
    for each in found:
        platform.delete_schedule(each.id)
        console.out(f"removed  {name_of(each)}")
    if name_of(found[0]) in in_file:
        console.out(f"It is still in {profiles}: the next apply creates it again.")


def _connect(on: str, profiles: Path) -> tuple[PlatformClient, Profile]:
    profile = read_profile(on, profiles)
    return connect(profile), profile


def _plan(platform: PlatformClient, profile: Profile, *, prune: bool, now: datetime) -> list[Change]:
    desired = prepare_schedules(profile, build=build_job, check=platform.check_schedule, now=now)
    return plan_changes(profile.name, desired, platform.list_schedules(), prune=prune)


def _spell_apply(on: str, profiles: Path, prune: bool) -> str:
    options = f"{' --prune' if prune else ''}{f' --profiles {profiles}' if profiles != PROFILES else ''}"
    return f"mnist schedule apply --on {on}{options}"


@contextmanager
def _interruptible(advice: str) -> Iterator[None]:
    """On Ctrl-C, end the command with advice on unfinished work."""
    try:
        yield
    except KeyboardInterrupt:
        errors.out(f"Interrupted. {advice}")
        raise typer.Exit(INTERRUPTED) from None


def _warn_of_opposite(profile: Profile, found: Iterable[Existing], *, paused: bool) -> None:
    """Warn that the next apply will undo the command, if the file says the opposite."""
    names = {name_of(each) for each in found}
    for schedule in profile.schedules:
        if schedule.name in names and schedule.paused is not None and schedule.paused != paused:
            then = "pauses" if schedule.paused else "resumes"
            says = f"The file says paused = {str(schedule.paused).lower()}"
            console.out(f"{says}: the next apply {then} it.", style="yellow")
