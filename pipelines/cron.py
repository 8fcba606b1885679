"""Read cron expressions in the dialect that Kubeflow Pipelines and Vertex AI share, and tell when they fire.

Kubeflow Pipelines reads them with robfig/cron 1.2, which knows no 7 for Sunday; Vertex AI takes unix-cron. Where one
of them refuses what the other takes, it is written in a way that both read alike; where they would fire at different
times, it is refused.
"""

import difflib
import functools
import itertools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

from components.mnist.errors import SettingError

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
PART = re.compile(
    r"(?P<first>\*|[0-9]{1,4}|[A-Za-z]{3})(?:-(?P<last>[0-9]{1,4}|[A-Za-z]{3}))?(?:/(?P<step>[0-9]{1,4}))?"
)


@dataclass(frozen=True)
class Field:
    """One of the five.

    Attributes:
        low, high: What `*` runs over.
        names: That may stand for numbers, the first for `low`.
    """

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def describe(self) -> str:
        """What is taken, in words."""
        words = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{words}, *, lists (1,5), ranges (1-5) or steps (*/2)"


MINUTE, HOUR = Field("minute", 0, 59), Field("hour", 0, 23)
DAY_OF_MONTH, MONTH = Field("day of month", 1, 31), Field("month", 1, 12, MONTHS)
DAY_OF_WEEK = Field("day of week", 0, 6, DAYS)
FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)


def normalise(cron: str) -> str:
    """Write a cron expression so that both platforms fire it at the same times: numbers only, Sunday is 0.

    Returns:
        Five fields with a space between them.

    Raises:
        SettingError: It is not of the dialect, never fires, or the platforms would fire it at different times.
    """
    words = cron.split()
    _check_form(cron, words)
    fields = [_normalise_field(cron, text, field) for text, field in zip(words, FIELDS, strict=True)]
    _check_days(cron, words, fields)
    return " ".join(fields)


def next_times(
    cron: str,
    time_zone: str,
    *,
    after: datetime,
    count: int,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[datetime]:
    """When a schedule fires next.

    When the clock is put forward, times that it leaves out don't fire; when it is put back, times that come twice
    fire twice. So do robfig/cron 1.2 and 3.0, which were asked; Google doesn't say what Vertex AI does. Where the clock
    is put forward at midnight, as in Cairo or Santiago, 1.2 may miss or move times of that day and the next month.

    Args:
        after: A moment, with a time zone.
        count: How many times at most.
        start, end: It fires after `start` and not after `end`; without a zone of their own they are in `time_zone`.

    Returns:
        Moments in `time_zone`, the earliest first; fewer than `count` when `end` comes before.

    Raises:
        SettingError: The expression or the time zone is refused.
    """
    zone = read_zone(time_zone)
    # Compared in UTC: within one zone Python compares what clocks show, also in an hour that comes twice.
    first = max(in_zone(moment, time_zone).astimezone(UTC) for moment in (after, start) if moment)
    last = in_zone(end, time_zone).astimezone(UTC) if end else None
    times = _fire(normalise(cron), first.astimezone(zone))
    within = itertools.takewhile(lambda time: last is None or time.astimezone(UTC) <= last, times)
    return list(itertools.islice(within, count))


def read_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        SettingError: There is no such zone.
    """
    known = _list_zones()
    if name in known:
        return zoneinfo.ZoneInfo(name)
    folded = {zone.casefold(): zone for zone in known}
    nearest = difflib.get_close_matches(name.casefold(), folded, 1)
    hint = f"did you mean {folded[nearest[0]]}?" if nearest else "expected one such as UTC or Europe/Berlin."
    raise SettingError(f"time_zone {name}: no such time zone; {hint}")


@functools.cache
def same_zone(one: str, other: str) -> bool:
    """Whether two time zones show the same time for the next five years, as UTC and Etc/UTC do.

    Raises:
        SettingError: There is no such zone.
    """
    zones = read_zone(one), read_zone(other)
    if one == other:
        return True
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = (now + timedelta(hours=passed) for passed in range(5 * 366 * 24))
    return all(len({hour.astimezone(zone).utcoffset() for zone in zones}) == 1 for hour in hours)


def in_zone(moment: datetime, time_zone: str) -> datetime:
    """Give a moment the time zone, unless it has one of its own.

    Raises:
        SettingError: There is no such zone.
    """
    return moment if moment.tzinfo else moment.replace(tzinfo=read_zone(time_zone))


@functools.cache
def _list_zones() -> frozenset[str]:
    # Some machines keep files among the zones that no platform knows.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def _check_form(cron: str, words: list[str]) -> None:
    expected = f"expected five fields: {', '.join(field.name for field in FIELDS)}"
    if words and words[0].startswith("@"):
        instead = NICKNAMES.get(words[0].lower())
        hint = f" Write {instead}" if instead else " Example: 0 6 * * 1"
        raise SettingError(f"cron {cron}: {words[0]} is not taken by both platforms; {expected}.{hint}")
    if words and words[0].upper().startswith(("TZ=", "CRON_TZ=")):
        raise SettingError(f"cron {cron}: a time zone stands in it; {expected}. Write the zone as time_zone.")
    if len(words) != len(FIELDS):
        count = f"{len(words)} field{'' if len(words) == 1 else 's'}" if words else "empty"
        raise SettingError(f"cron {cron}: {count}; {expected}. Example, Mondays at six: 0 6 * * 1")


def _normalise_field(cron: str, text: str, field: Field) -> str:
    parts = text.split(",")
    if len(parts) > 1 and "*" in parts:
        raise SettingError(
            f"cron {cron}: {text} as {field.name} has * among others, which the platforms read differently; expected "
            "* alone, or a list without it."
        )
    return ",".join(_normalise_part(cron, part, field, alone=len(parts) == 1) for part in parts)


def _normalise_part(cron: str, part: str, field: Field, *, alone: bool) -> str:
    """Write `*`, `n`, `a-b`, with or without a step, with numbers of the field."""
    if not (match := PART.fullmatch(part)) or (match["first"] == "*" and match["last"]):
        raise _refuse(cron, part, field, field.describe())
    if match["first"] == "*" and alone and not match["step"]:
        return "*"
    first, last = _read_ends(cron, match, field)
    step = int(match["step"] or 1)
    if match["step"] and not 1 <= step <= max(1, last - first):
        raise _refuse(cron, part, field, f"a step from 1 to {max(1, last - first)} within {first} to {last}")
    if match["first"] == "*" and alone:
        return "*" if step == 1 else f"*/{step}"
    if last > field.high:
        return _wrap_sunday(first, step)
    return _spell(first, last, step)


def _read_ends(cron: str, match: re.Match[str], field: Field) -> tuple[int, int]:
    if match["first"] == "*":
        return field.low, field.high
    first = _read_number(cron, match[0], match["first"], field)
    if not match["last"]:
        return first, max(first, field.high) if match["step"] else first
    last = _read_number(cron, match[0], match["last"], field)
    if last < first and field is DAY_OF_WEEK and last == 0:
        last = 7
    if last < first:
        raise _refuse(cron, match[0], field, f"a range that runs upwards: {first}-{field.high},{field.low}-{last}")
    return first, last


def _read_number(cron: str, part: str, word: str, field: Field) -> int:
    if word.upper() in field.names:
        return field.names.index(word.upper()) + field.low
    sunday = 7 if field is DAY_OF_WEEK else field.high
    if not word.isdecimal() or not field.low <= int(word) <= sunday:
        raise _refuse(cron, part, field, field.describe())
    return int(word)


def _wrap_sunday(first: int, step: int) -> str:
    """Write a range of week days that ends with 7, which only Vertex AI takes for Sunday."""
    if step > 1:
        return ",".join(str(day % 7) for day in range(first, 8, step))
    if first in (0, 7):
        return "0-6" if first == 0 else "0"
    return f"{_spell(first, 6, 1)},0"


def _spell(first: int, last: int, step: int) -> str:
    if first == last:
        return str(first)
    return f"{first}-{last}" + (f"/{step}" if step > 1 else "")


def _check_days(cron: str, words: list[str], fields: list[str]) -> None:
    day, month, weekday = fields[2:]
    if day == "*":
        return
    if weekday == "*":
        longest = max(LONGEST_MONTHS[number - 1] for number in _numbers(month, MONTH))
        if min(_numbers(day, DAY_OF_MONTH)) > longest:
            raise SettingError(f"cron {cron}: never fires, since month {words[3]} has no day {words[2]}. Change one.")
        return
    for text, normal, field in ((words[2], day, DAY_OF_MONTH), (words[4], weekday, DAY_OF_WEEK)):
        if "*" in text:
            either = ",".join(map(str, sorted(_numbers(normal, field))))
            raise SettingError(
                f"cron {cron}: {text} as {field.name}, with both days given, is read differently by the platforms: "
                f"days on which both hold, or either. Write {either}, which means either."
            )


def _numbers(text: str, field: Field) -> set[int]:
    """All numbers that a normalised field stands for."""
    numbers: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{field.low}-{field.high}" if span == "*" else span).partition("-")
        numbers.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return numbers


def _fire(cron: str, after: datetime) -> Iterator[datetime]:
    # With seconds before them, cronsim does not move times that the clock leaves out, as Debian's cron would.
    for time in CronSim(f"0 {cron}", after):
        if time.astimezone(UTC).astimezone(time.tzinfo) == time:
            yield time


def _refuse(cron: str, part: str, field: Field, expected: str) -> SettingError:
    return SettingError(f"cron {cron}: {part or 'nothing'} as {field.name}; expected {expected}.")
