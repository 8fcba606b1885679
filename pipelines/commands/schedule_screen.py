"""What `mnist schedule` writes about a change, and about a schedule that stands: a line each, also in a log."""

from collections.abc import Iterable
from datetime import datetime

from rich.markup import escape

from pipelines import cron
from pipelines.commands.console import console
from pipelines.platforms.base import Existing
from pipelines.profiles import Schedule
from pipelines.schedules import apply as schedules
from pipelines.schedules.plan import Change, Kind

SHOWN_TIMES = 5
STYLES = {Kind.CREATE: "green", Kind.RESUME: "green", Kind.REMOVE: "red", Kind.KEEP: "dim", Kind.OVER: "dim"}
DONE = {
    Kind.CREATE: "created",
    Kind.REPLACE: "replaced",
    Kind.KEEP: "kept",
    Kind.PAUSE: "paused",
    Kind.RESUME: "resumed",
    Kind.REMOVE: "removed",
    Kind.ORPHAN: "orphan",
    Kind.OVER: "over",
}


def show_change(change: Change, among: Iterable[Change], *, done: bool = False) -> None:
    """One line about a change that is planned or done, its name as wide as the longest of all."""
    word = DONE[change.kind] if done else change.kind
    width = max(len(each.name) for each in among)
    style = STYLES.get(change.kind, "yellow")
    times = _describe_times(change.desired.schedule) if change.desired else _describe_old(change)
    line = f"{change.name:<{width}}  {times}: {change.reason}"
    console.print(f"[{style}]{word:<8}[/{style}] {escape(line)}", soft_wrap=True)


def show_times(change: Change, *, now: datetime) -> None:
    """When it fires next once the change is done, a line each."""
    if not change.desired or (change.existing and change.existing.ended):
        return
    schedule = change.desired.schedule
    times = schedules.next_times(schedule, after=now, count=SHOWN_TIMES)
    lead = "(paused)" if change.paused else "next"
    for number, time in enumerate(times):
        console.print(f"[dim]{'' if number else lead:>8}[/dim] {_spell(time)}")
    if len(times) < SHOWN_TIMES and schedule.end:
        end = cron.in_zone(schedule.end, schedule.time_zone).astimezone(cron.read_zone(schedule.time_zone))
        console.print(f"         {'then no more' if times else 'never again'}: its end is {_spell(end)}")


def show_existing(each: Existing, among: Iterable[Existing], *, owner: str) -> None:
    """One line about a schedule that stands."""
    width = max(len(_clean(schedules.name_of(other))) for other in among)
    state = "ended" if each.ended else "paused" if each.paused else "active"
    times = f"{_clean(each.cron)} {_clean(each.time_zone)}"
    line = f"{state:<8} {_clean(schedules.name_of(each)):<{width}}  {times}, since {each.created:%Y-%m-%d}"
    console.print(escape(f"{line} ({each.id}{owner})"), soft_wrap=True)


def _describe_times(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.time_zone}"


def _describe_old(change: Change) -> str:
    each = change.old[0] if change.old else change.existing
    return f"{_clean(each.cron)} {_clean(each.time_zone)} ({each.id})" if each else ""


def _spell(time: datetime) -> str:
    """Week day, date, time and the zone's distance from UTC then."""
    return f"{time:%a} {time.isoformat(sep=' ', timespec='minutes')}"


def _clean(text: str) -> str:
    """What others wrote, without anything that a terminal would act on."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
