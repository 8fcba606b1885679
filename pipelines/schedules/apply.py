"""Make the schedules of a profile match `mnist.toml`: check all first, then change each separately.

Neither platform can change a schedule's pipeline, so a changed schedule is replaced: the new one is created before the
old one is deleted. Its mark holds a fingerprint of its definition (`pipelines/schedules/fingerprints.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial

from components.mnist.errors import MnistError, SettingError
from components.mnist.settings import Value
from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms.base import Mark, PlatformClient
from pipelines.profiles import Profile, Schedule
from pipelines.schedules.fingerprints import fingerprint
from pipelines.schedules.plan import Change, Desired, Kind


def prepare_schedules(
    profile: Profile,
    *,
    build: Callable[[Profile, Mapping[str, Value]], Job],
    check: Callable[[Schedule], None],
    now: datetime,
) -> list[Desired]:
    """Check all schedules of a profile and compile their pipelines.

    Args:
        build: Builds a job from a profile and parameters, such as `compilation.build_job`.
        check: Refuses unsupported schedules, such as `PlatformClient.check_schedule`.

    Raises:
        SettingError: At least one schedule is refused; the message lists every refusal.
        ImageError: No pushed images belong to this code.
    """
    desired, refusals = [], []
    for schedule in profile.schedules:
        try:
            schedule = schedule.model_copy(update={"cron": cron.normalise(schedule.cron)})
            start, end = schedule.start, schedule.end
            next_time = partial(cron.next_times, schedule.cron, schedule.time_zone, start=start, end=end, count=1)
            is_over = not next_time(after=now)
            if start and end and not next_time(after=start):
                raise SettingError(
                    f"cron {schedule.cron} {schedule.time_zone} never fires after start = {start} and up to "
                    f"end = {end}. Change one of them."
                )
            check(schedule)
            job = build(profile, schedule.parameters)
            desired.append(Desired(schedule, job, fingerprint(schedule, job, profile), is_over))
        except SettingError as error:
            refusals.append(f"schedule {schedule.name}: {error}")
    if refusals:
        raise SettingError(f"[{profile.name}] {' '.join(refusals)}")
    return desired


def apply_changes(
    platform: PlatformClient, changes: Iterable[Change], *, profile: str, show: Callable[[Change], None]
) -> list[tuple[Change, MnistError]]:
    """Carry out a plan. A change that fails does not stop the others.

    Args:
        profile: The profile's name, for the marks.
        show: Called with each change once it is done.

    Returns:
        The changes that failed, with their errors. The next apply finishes them, even if they are half done.
    """
    failures: list[tuple[Change, MnistError]] = []
    for change in changes:
        try:
            if change.kind in (Kind.CREATE, Kind.REPLACE) and change.desired:
                schedule = change.desired.schedule.model_copy(update={"paused": change.paused})
                mark = Mark(profile, change.name, change.desired.content)
                platform.create_schedule(schedule, change.desired.job, mark)
            elif change.kind is Kind.PAUSE and change.existing:
                platform.pause_schedule(change.existing.id)
            elif change.kind is Kind.RESUME and change.existing:
                platform.resume_schedule(change.existing.id)
            for old in change.old:
                platform.delete_schedule(old.id)
        except MnistError as error:
            failures.append((change, error))
        else:
            show(change)
    return failures
