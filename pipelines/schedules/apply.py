"""Bring the schedules of a profile in line with `mnist.toml`: checked first, then changed, what is new first.

Neither platform can change what a schedule runs, so a changed schedule is replaced. What it was made of is kept as
digits of a hash in its mark (`pipelines/schedules/fingerprints.py`).
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from components.mnist.errors import MnistError, SettingError
from components.mnist.settings import Value
from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms.base import Existing, Mark, PlatformClient
from pipelines.profiles import Profile, Schedule
from pipelines.schedules import fingerprints
from pipelines.schedules.plan import Change, Desired, Kind


def prepare(
    profile: Profile,
    *,
    build: Callable[[Profile, Mapping[str, Value]], Job],
    check: Callable[[Schedule], None],
    now: datetime,
) -> list[Desired]:
    """Check every schedule of a profile and compile what it runs.

    Args:
        build: Makes a job from a profile and parameters, as `jobs.build_job`.
        check: Refuses what the platform can't do, as `Platform.check_schedule`.

    Raises:
        SettingError: Something of any of them is refused; all refusals in one.
        ImageError: No pushed images belong to this commit.
    """
    prepared, refusals = [], []
    for schedule in profile.schedules:
        try:
            prepared.append(_prepare(profile, schedule, build, check, now))
        except SettingError as error:
            refusals.append(f"schedule {schedule.name}: {error}")
    if refusals:
        raise SettingError(f"[{profile.name}] {' '.join(refusals)}")
    return prepared


def _prepare(
    profile: Profile,
    schedule: Schedule,
    build: Callable[[Profile, Mapping[str, Value]], Job],
    check: Callable[[Schedule], None],
    now: datetime,
) -> Desired:
    schedule = schedule.model_copy(update={"cron": cron.normalise(schedule.cron)})
    is_over = not next_times(schedule, after=now, count=1)
    if schedule.start and schedule.end and not next_times(schedule, after=schedule.start, count=1):
        raise SettingError(
            f"cron {schedule.cron} {schedule.time_zone} never fires after start = {schedule.start} and up to "
            f"end = {schedule.end}. Change one of them."
        )
    check(schedule)
    job = build(profile, schedule.parameters)
    return Desired(schedule, job, fingerprints.fingerprint(schedule, job, profile), is_over)


def next_times(schedule: Schedule, *, after: datetime, count: int) -> list[datetime]:
    """When a schedule fires next, in its time zone; see `cron.next_times`."""
    return cron.next_times(
        schedule.cron, schedule.time_zone, after=after, count=count, start=schedule.start, end=schedule.end
    )


def apply(
    platform: PlatformClient, changes: Iterable[Change], *, profile: str, show: Callable[[Change], None]
) -> list[tuple[Change, MnistError]]:
    """Carry out a plan, each change by itself.

    Args:
        profile: Its name, for the marks.
        show: Is given each change once it is done.

    Returns:
        What failed, and why. The next plan takes it up again, whatever came of it.
    """
    failures: list[tuple[Change, MnistError]] = []
    for change in changes:
        try:
            _carry_out(platform, change, profile)
        except MnistError as error:
            failures.append((change, error))
        else:
            show(change)
    return failures


def _carry_out(platform: PlatformClient, change: Change, profile: str) -> None:
    if change.kind in (Kind.CREATE, Kind.REPLACE) and change.desired:
        desired = change.desired
        schedule = desired.schedule.model_copy(update={"paused": change.paused})
        platform.create_schedule(schedule, desired.job, Mark(profile, change.name, desired.content))
    elif change.kind is Kind.PAUSE and change.existing:
        platform.pause_schedule(change.existing.id)
    elif change.kind is Kind.RESUME and change.existing:
        platform.resume_schedule(change.existing.id)
    for old in change.old:
        platform.delete_schedule(old.id)


def find(name: str, profile: str, existing: Iterable[Existing]) -> list[Existing]:
    """The schedules of a profile that a person means by a name, or by an id.

    Returns:
        At least one; several when an interrupted apply left them.

    Raises:
        SettingError: There is none, or it belongs to somebody else.
    """
    existing = list(existing)
    own = [each for each in existing if each.mark and each.mark.profile == profile]
    named = [each for each in own if each.mark and each.mark.name == name]
    if found := named or [each for each in own if name == each.id]:
        return found
    for each in existing:
        if each not in own and name in (each.id, name_of(each)):
            owner = f"of profile {each.mark.profile}" if each.mark else "not made by this command"
            raise SettingError(f"{name}: is {owner}, so [{profile}] does not touch it. Change it where it was made.")
    names = sorted({name_of(each) for each in own})
    nearest = difflib.get_close_matches(name, names, 1)
    hint = (
        f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(names)}." if names else "none does."
    )
    raise SettingError(f"{name}: no such schedule of [{profile}] stands on the platform; {hint}")


def name_of(existing: Existing) -> str:
    """What a person calls it: its name in the file, or its title when somebody else made it."""
    return existing.mark.name if existing.mark else existing.title
