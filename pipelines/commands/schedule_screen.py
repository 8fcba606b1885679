"""Print planned changes and existing schedules for `mnist schedule`, one line each."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.markup import escape

from pipelines import cron
from pipelines.commands.console import console
from pipelines.platforms.base import Existing
from pipelines.schedules.lookup import name_of
from pipelines.schedules.plan import Change, Kind

SHOWN_TIMES = 5
STYLES = {Kind.CREATE: "green", Kind.RESUME: "green", Kind.REMOVE: "red", Kind.KEEP: "dim", Kind.OVER: "dim"}


def show_change(change: Change, among: Iterable[Change], *, done: bool = False) -> None:
    """Print a line about a change that is planned or done.

    Args:
        among: All changes that are shown; the longest name sets the width of the column.
    """
    word = change.kind.value
    if done and change.kind.is_change:
        word += "d"  # created, replaced, paused
    elif done and change.kind is Kind.KEEP:
        word = "kept"
    width = max(len(each.name) for each in among)
    style = STYLES.get(change.kind, "yellow")
    if change.desired:
        times = f"{change.desired.schedule.cron} {change.desired.schedule.time_zone}"
    else:
        times = " ".join(f"{_describe_times(each)} ({each.id})" for each in (*change.old, change.existing) if each)
    line = f"{change.name:<{width}}  {times}: {change.reason}"
    console.print(f"[{style}]{word:<8}[/{style}] {escape(line)}", soft_wrap=True)


def show_times(change: Change, *, now: datetime) -> None:
    """Print the next times of a schedule after the change, one line each."""
    if not change.desired or (change.existing and change.existing.ended):
        return
    schedule = change.desired.schedule
    times = cron.next_times(
        schedule.cron, schedule.time_zone, after=now, count=SHOWN_TIMES, start=schedule.start, end=schedule.end
    )
    lead = "(paused)" if change.paused else "next"
    for number, time in enumerate(times):
        console.print(f"[dim]{'' if number else lead:>8}[/dim] {_spell(time)}")
    if len(times) < SHOWN_TIMES and schedule.end:
        end = cron.in_zone(schedule.end, schedule.time_zone).astimezone(cron.read_zone(schedule.time_zone))
        console.print(f"         {'then no more' if times else 'never again'}: its end is {_spell(end)}")


def show_existing(schedules: Sequence[Existing], profile: str) -> None:
    """Print a line about each schedule on the platform, with its profile if that is another one."""
    names = [_clean(name_of(each)) for each in schedules]
    for each, name in zip(schedules, names, strict=True):
        state = "ended" if each.ended else "paused" if each.paused else "active"
        owner = f", profile {each.mark.profile}" if each.mark and each.mark.profile != profile else ""
        times = f"{_describe_times(each)}, since {each.created:%Y-%m-%d}"
        console.out(f"{state:<8} {name:<{max(map(len, names))}}  {times} ({each.id}{owner})")


def _describe_times(existing: Existing) -> str:
    return f"{_clean(existing.cron)} {_clean(existing.time_zone)}"


def _spell(time: datetime) -> str:
    """Format a time: weekday, date, time and offset from UTC."""
    return f"{time:%a} {time.isoformat(sep=' ', timespec='minutes')}"


def _clean(text: str) -> str:
    """Replace control characters in a third party's text, which a terminal would interpret."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
