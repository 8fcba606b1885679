"""Decide what becomes of schedules: compare what a file wants with what stands on a platform.

Works on values, and remembers nothing: what an apply left that was interrupted is seen on the platform.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from components.mnist.errors import SettingError
from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms.base import Existing
from pipelines.profiles import Schedule
from pipelines.schedules import fingerprints


@dataclass(frozen=True)
class Desired:
    """A schedule of the file, checked.

    Attributes:
        schedule: With its cron expression as both platforms read it.
        content: Its fingerprint.
        is_over: It would never fire again.
    """

    schedule: Schedule
    job: Job
    content: str
    is_over: bool = False


class Kind(StrEnum):
    """What becomes of a schedule."""

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
        """Whether the platform is asked to do something."""
        return self not in (Kind.KEEP, Kind.ORPHAN, Kind.OVER)


@dataclass(frozen=True)
class Change:
    """What becomes of one schedule, and why.

    Attributes:
        desired: As it is in the file; None when it is in no file.
        existing: The one that stays; None when there is none, or it goes.
        old: Those that go, once what is new stands.
        paused: Whether it is paused afterwards.
    """

    kind: Kind
    name: str
    reason: str
    desired: Desired | None = None
    existing: Existing | None = None
    old: tuple[Existing, ...] = ()
    paused: bool = False


def plan(profile: str, desired: Sequence[Desired], existing: Iterable[Existing], *, prune: bool) -> list[Change]:
    """Compare what the file wants with what stands on the platform.

    Args:
        profile: Its name; schedules that bear another mark, or none, are not looked at.
        prune: Whether schedules go that are in no file any more.

    Returns:
        One change or more for each schedule: those of the file in its order, then those in no file.
    """
    own: dict[str, list[Existing]] = {each.schedule.name: [] for each in desired}
    for each in sorted(existing, key=_preference):
        if each.mark and each.mark.profile == profile:
            own.setdefault(each.mark.name, []).append(each)
    changes = [change for each in desired for change in _plan_one(each, own.pop(each.schedule.name))]
    return changes + [change for name, orphans in own.items() for change in _plan_orphans(name, orphans, prune)]


def _preference(existing: Existing) -> tuple[bool, bool, datetime, str]:
    """Which of several equals stays: one that fires, the oldest."""
    return existing.ended, existing.paused, existing.created, existing.id


def _plan_one(desired: Desired, existing: Sequence[Existing]) -> list[Change]:
    name = desired.schedule.name
    same = [each for each in existing if _content(each) == desired.content]
    other = [each for each in existing if _content(each) != desired.content]
    if same:
        twice = [_remove(name, each, "there twice with the same content") for each in same[1:]]
        return [*_settle(desired, same[0], other), *twice]
    if desired.is_over:
        gone = [_remove(name, each, "its end in the file has passed") for each in other if not each.ended]
        return [Change(Kind.OVER, name, "its last time has passed, nothing to do", desired), *gone]
    if not other:
        return [Change(Kind.CREATE, name, "new", desired, paused=bool(desired.schedule.paused))]
    return [_replace(desired, other)]


def _settle(desired: Desired, existing: Existing, left_over: Sequence[Existing]) -> list[Change]:
    """Keep what is right already, and take up what an interrupted apply left: it ended after making what is new."""
    name = desired.schedule.name
    left_over = _newest_first(left_over)
    original = _find_original([each for each in left_over if each.created <= existing.created])
    fires = not (existing.paused or existing.ended or desired.is_over)
    if desired.schedule.paused is None and fires and original and original.paused:
        # In one change: without the old one, nobody would know any more that this one has to be paused.
        reason = "paused as what it replaces, left over from an apply that was interrupted"
        return [Change(Kind.PAUSE, name, reason, desired, existing, left_over, paused=True)]
    reason = "replaced already, left over from an apply that was interrupted"
    return [_keep(desired, existing), *(_remove(name, each, reason) for each in left_over)]


def _find_original(existing: Iterable[Existing]) -> Existing | None:
    """What stood before interrupted replacements: its state is the one that a person gave."""
    return min((each for each in existing if not each.ended), key=lambda each: each.created, default=None)


def _keep(desired: Desired, existing: Existing) -> Change:
    name, paused = desired.schedule.name, desired.schedule.paused
    if existing.ended or desired.is_over:
        anew = (
            "" if desired.is_over else f" on the platform; to start it anew: mnist schedule delete {name}, then apply"
        )
        return Change(Kind.KEEP, name, f"unchanged, has ended{anew}", desired, existing, paused=existing.paused)
    if paused is None or paused == existing.paused:
        reason = "unchanged, paused" if existing.paused else "unchanged"
        return Change(Kind.KEEP, name, reason, desired, existing, paused=existing.paused)
    kind = Kind.PAUSE if paused else Kind.RESUME
    return Change(kind, name, f"the file says paused = {str(paused).lower()}", desired, existing, paused=paused)


def _replace(desired: Desired, old: Sequence[Existing]) -> Change:
    paused, original = desired.schedule.paused, _find_original(old)
    if paused is None:
        paused = original is not None and original.paused
    old = _newest_first(old)
    return Change(Kind.REPLACE, desired.schedule.name, _explain(desired, old[0]), desired, old=old, paused=paused)


def _newest_first(existing: Iterable[Existing]) -> tuple[Existing, ...]:
    """In the order in which they go: as long as one is left, the original is."""
    return tuple(sorted(existing, key=lambda each: each.created, reverse=True))


def _explain(desired: Desired, old: Existing) -> str:
    parts = fingerprints.find_changes(_content(old), desired.content)
    words = [_explain_times(desired.schedule, old) if part == fingerprints.TIMES else part for part in parts]
    return f"changed: {', '.join(words)}"


def _explain_times(schedule: Schedule, old: Existing) -> str:
    words = [f"cron {old.cron} -> {schedule.cron}"] if old.cron != schedule.cron else []
    if not _is_same_zone(old.time_zone, schedule.time_zone):
        words.append(f"time_zone {old.time_zone} -> {schedule.time_zone}")
    return ", ".join(words) or "start or end"


def _is_same_zone(one: str, other: str) -> bool:
    # A platform may call a zone by another name than the file, or by one that only the platform knows.
    with contextlib.suppress(SettingError):
        return cron.same_zone(one, other)
    return False


def _plan_orphans(name: str, orphans: Sequence[Existing], prune: bool) -> list[Change]:
    if prune:
        return [_remove(name, each, "in no file") for each in orphans]
    reason = "in no file; stays until apply --prune"
    return [Change(Kind.ORPHAN, name, reason, existing=each, paused=each.paused) for each in orphans]


def _remove(name: str, existing: Existing, reason: str) -> Change:
    return Change(Kind.REMOVE, name, reason, old=(existing,))


def _content(existing: Existing) -> str:
    return existing.mark.content if existing.mark else ""
