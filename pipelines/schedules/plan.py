"""Plan changes to a platform's schedules: compare the desired schedules of a file with the existing ones.

Works on values and keeps no state: leftovers of an interrupted apply are found on the platform.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from components.mnist.errors import SettingError
from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms.base import Existing
from pipelines.profiles import Schedule
from pipelines.schedules.fingerprints import TIMES, find_changes


@dataclass(frozen=True)
class Desired:
    """A checked schedule of the file.

    Attributes:
        schedule: With a normalised cron expression.
        content: The fingerprint.
        is_over: Whether it would never fire again.
    """

    schedule: Schedule
    job: Job
    content: str
    is_over: bool = False


class Kind(StrEnum):
    """The kinds of changes to a schedule."""

    CREATE = "create"
    REPLACE = "replace"
    KEEP = "keep"
    PAUSE = "pause"
    RESUME = "resume"
    REMOVE = "remove"
    ORPHAN = "orphan"
    OVER = "over"

    @property
    def is_change(self) -> bool:
        """Whether the change needs a call to the platform."""
        return self not in (Kind.KEEP, Kind.ORPHAN, Kind.OVER)


@dataclass(frozen=True)
class Change:
    """A change of one schedule, with its reason.

    Attributes:
        desired: The schedule in the file; None if the file no longer has it.
        existing: The schedule that is kept; None if there is none, or it is deleted.
        old: The schedules to delete, in this order, once the new one exists.
        paused: Whether the schedule is paused afterwards.
    """

    kind: Kind
    name: str
    reason: str
    desired: Desired | None = None
    existing: Existing | None = None
    old: tuple[Existing, ...] = ()
    paused: bool = False


def plan_changes(
    profile: str, desired: Sequence[Desired], existing: Iterable[Existing], *, prune: bool
) -> list[Change]:
    """Compare the schedules of a file with those on the platform.

    Args:
        profile: The profile's name; schedules with the mark of another profile, or without a mark, are ignored.
        prune: Whether to remove schedules that the file no longer has.

    Returns:
        At least one change for each schedule: those of the file in its order, then those that it no longer has.
    """
    own: dict[str, list[Existing]] = {each.schedule.name: [] for each in desired}
    # Of several with the same content the first is kept: active ones first, then the oldest.
    for each in sorted(existing, key=lambda each: (each.ended, each.paused, each.created, each.id)):
        if each.mark and each.mark.profile == profile:
            own.setdefault(each.mark.name, []).append(each)
    changes = [change for each in desired for change in _plan_one(each, own.pop(each.schedule.name))]
    for name, orphans in own.items():
        for each in orphans:
            if prune:
                changes.append(Change(Kind.REMOVE, name, "not in the file", old=(each,)))
            else:
                reason = "not in the file; kept until apply --prune"
                changes.append(Change(Kind.ORPHAN, name, reason, existing=each, paused=each.paused))
    return changes


def _plan_one(desired: Desired, existing: Sequence[Existing]) -> list[Change]:
    name, paused = desired.schedule.name, desired.schedule.paused
    same = [each for each in existing if each.mark and each.mark.content == desired.content]
    # Deleted in this order, the newest first: the original is deleted last.
    other = tuple(sorted((each for each in existing if each not in same), key=lambda each: each.created, reverse=True))
    if same:
        twice = [Change(Kind.REMOVE, name, "a duplicate with the same content", old=(each,)) for each in same[1:]]
        return [*_keep(desired, same[0], other), *twice]
    if desired.is_over:
        reason = "its end in the file has passed"
        gone = [Change(Kind.REMOVE, name, reason, old=(each,)) for each in other if not each.ended]
        return [Change(Kind.OVER, name, "its last time has passed, nothing to do", desired), *gone]
    if not other:
        return [Change(Kind.CREATE, name, "new", desired, paused=bool(paused))]
    if paused is None:
        original = _find_original(other)
        paused = original is not None and original.paused
    return [Change(Kind.REPLACE, name, _explain(desired, other[0]), desired, old=other, paused=paused)]


def _keep(desired: Desired, existing: Existing, left_over: tuple[Existing, ...]) -> list[Change]:
    """Keep the matching schedule, and finish an apply that was interrupted after creating it."""
    name, paused = desired.schedule.name, desired.schedule.paused
    has_ended = existing.ended or desired.is_over
    original = _find_original(each for each in left_over if each.created <= existing.created)
    if paused is None and not (has_ended or existing.paused) and original and original.paused:
        # One change that deletes last: only the old schedule records that this one must be paused.
        reason = "paused like the schedule that it replaces, left over from an interrupted apply"
        return [Change(Kind.PAUSE, name, reason, desired, existing, left_over, paused=True)]
    kind = Kind.KEEP
    if has_ended:
        reason = "unchanged, has ended"
        if not desired.is_over:
            reason += f" on the platform; to start it again: mnist schedule delete {name}, then apply"
    elif paused is None or paused == existing.paused:
        reason = "unchanged, paused" if existing.paused else "unchanged"
    else:
        kind, reason = Kind.PAUSE if paused else Kind.RESUME, f"the file says paused = {str(paused).lower()}"
    is_paused = existing.paused if kind is Kind.KEEP else kind is Kind.PAUSE
    changes = [Change(kind, name, reason, desired, existing, paused=is_paused)]
    if left_over:
        reason = "already replaced, left over from an interrupted apply"
        changes.append(Change(Kind.REMOVE, name, reason, old=left_over))
    return changes


def _find_original(existing: Iterable[Existing]) -> Existing | None:
    """Find the schedule from before any interrupted replacement, whose paused state the user chose."""
    return min((each for each in existing if not each.ended), key=lambda each: each.created, default=None)


def _explain(desired: Desired, old: Existing) -> str:
    schedule = desired.schedule
    times = [f"cron {old.cron} -> {schedule.cron}"] if old.cron != schedule.cron else []
    is_same_zone = False
    with contextlib.suppress(SettingError):  # a zone unknown on this machine
        # A platform may use another name for the same zone.
        is_same_zone = cron.same_zone(old.time_zone, schedule.time_zone)
    if not is_same_zone:
        times.append(f"time_zone {old.time_zone} -> {schedule.time_zone}")
    parts = find_changes(old.mark.content if old.mark else "", desired.content)
    words = [", ".join(times) or "start or end" if part == TIMES else part for part in parts]
    return f"changed: {', '.join(words)}"
