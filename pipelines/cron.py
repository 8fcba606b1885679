"""Read cron expressions in the dialect that Kubeflow Pipelines and Vertex AI share, and compute when they fire.

Kubeflow Pipelines reads them with robfig/cron 1.2, which knows no 7 for Sunday; Vertex AI takes unix-cron. Where one
of them refuses what the other takes, it is rewritten so that both read it alike; where they would fire at different
times, it is refused.
"""

import functools
import itertools
import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

from cronsim.cronsim import CronSim, CronSimError
from cronsim.cronsim import Field as Parser

from components.mnist.errors import SettingError, suggest

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# The forms that both platforms know: without ?, L, W and #.
PART = re.compile(r"(?P<span>\*|(\d{1,4}|[A-Z]{3})(-(\d{1,4}|[A-Z]{3}))?)(/(?P<step>\d{1,4}))?", re.ASCII)


class Field(NamedTuple):
    """One of the five.

    Attributes:
        parser: Knows names, and refuses what is out of range.
        first, last: What `*` covers.
        names: In words.
    """

    name: str
    parser: Parser
    first: int
    last: int
    names: str = ""


FIELDS = (
    Field("minute", Parser.MINUTE, 0, 59),
    Field("hour", Parser.HOUR, 0, 23),
    Field("day of month", Parser.DAY, 1, 31),
    Field("month", Parser.MONTH, 1, 12, " or JAN to DEC"),
    Field("day of week", Parser.DOW, 0, 6, " or SUN to SAT"),
)


def normalise(cron: str) -> str:
    """Write a cron expression so that both platforms fire it at the same times: numbers only, Sunday is 0.

    Returns:
        Five fields with a space between them.

    Raises:
        SettingError: It is not of the dialect, never fires, or the platforms would fire it at different times.
    """
    try:
        words = _split(cron)
        numbers = [_read_field(word, field) for word, field in zip(words, FIELDS, strict=True)]
        fields = list(map(_write, words, numbers))
        if "*" not in (fields[2], fields[4]):
            _check_days(words, numbers)
    except SettingError as error:
        raise SettingError(f"cron {cron}: {error}") from None
    normal = " ".join(fields)
    try:
        CronSim(normal, datetime.now(UTC))
    except CronSimError:
        never = f"never fires, since month {words[3]} has no day {words[2]}. Change one."
        raise SettingError(f"cron {cron}: {never}") from None
    return normal


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

    When the clock is put forward, times that it skips don't fire; when it is put back, times that come twice
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
    # Compared in UTC: within one zone Python compares what clocks show, also in an hour that comes twice.
    first = max(in_zone(moment, time_zone).astimezone(UTC) for moment in (after, start) if moment)
    last = in_zone(end, time_zone).astimezone(UTC) if end else None
    # With seconds before them, CronSim does not move times that the clock skips, as Debian's cron would.
    times = CronSim(f"0 {normalise(cron)}", first.astimezone(read_zone(time_zone)))
    real = (time for time in times if time.astimezone(UTC).astimezone(time.tzinfo) == time)
    within = itertools.takewhile(lambda time: last is None or time.astimezone(UTC) <= last, real)
    return list(itertools.islice(within, count))


def read_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        SettingError: There is no such zone.
    """
    known = _list_zones()
    if name not in known:
        hint = suggest(name, known, otherwise="expected one such as UTC or Europe/Berlin.")
        raise SettingError(f"time_zone {name}: no such time zone; {hint}")
    return zoneinfo.ZoneInfo(name)


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


def _split(cron: str) -> list[str]:
    words = cron.split()
    first = words[0].upper() if words else ""
    expected = f"expected five fields: {', '.join(field.name for field in FIELDS)}"
    if first.startswith("@"):
        instead = NICKNAMES.get(first.lower(), "times, as in 0 6 * * 1")
        raise SettingError(f"{words[0]} is not taken by both platforms; {expected}. Write {instead}")
    if first.startswith(("TZ=", "CRON_TZ=")):
        raise SettingError(f"has a time zone in it; {expected}. Write the zone as time_zone.")
    if len(words) != len(FIELDS):
        count = f"{len(words)} field{'' if len(words) == 1 else 's'}" if words else "empty"
        raise SettingError(f"{count}; {expected}. Example, Mondays at six: 0 6 * * 1")
    return words


def _read_field(text: str, field: Field) -> set[int]:
    parts = text.upper().split(",")
    if len(parts) > 1 and "*" in parts:
        raise SettingError(
            f"{text} as {field.name} has * in a list, which the platforms read differently; expected * alone, or a "
            "list without it."
        )
    return set().union(*(_read_part(part, field) for part in parts))


def _read_part(part: str, field: Field) -> list[int]:
    """The numbers that `*`, `n` or `a-b` means, with or without a step; Sunday is 0."""
    refusal = SettingError(
        f"{part or 'nothing'} as {field.name}; expected {field.first} to {field.last}{field.names}, *, lists (1,5), "
        "ranges that run upwards (1-5) or steps (*/2)."
    )
    if not (match := PART.fullmatch(part)):
        raise refusal
    span, step = match["span"], int(match["step"] or 1)
    if span == "*":
        span = f"{field.first}-{field.last}"
    elif match["step"] and "-" not in span:
        span = f"{span}-{field.last}"
    if field.parser is Parser.DOW:
        span = re.sub(r"(?<!0)(?<!SUN)-(0+|SUN)$", "-7", span)  # the week may end with Sunday
    try:
        numbers = sorted(cast(set[int], field.parser.parse(span)))
    except CronSimError:
        raise refusal from None
    longest = max(1, len(numbers) - 1)
    if not 1 <= step <= longest:
        raise SettingError(f"{part} as {field.name}; expected a step from 1 to {longest} within {span}.")
    return [number % 7 if field.parser is Parser.DOW else number for number in numbers[::step]]


def _check_days(words: list[str], numbers: list[set[int]]) -> None:
    for index in (2, 4):
        if "*" in words[index]:
            raise SettingError(
                f"{words[index]} as {FIELDS[index].name}, with both days given, is read differently by the platforms: "
                f"days on which both match, or either. Write {_spell(numbers[index])}, which means either."
            )


def _write(text: str, numbers: set[int]) -> str:
    # A star is kept: a day of month or week that is * leaves the choice to the other, and 1-31 does not.
    if not (match := re.fullmatch(r"\*(?:/(\d+))?", text)):
        return _spell(numbers)
    step = int(match[1] or 1)
    return "*" if step == 1 else f"*/{step}"


def _spell(numbers: set[int]) -> str:
    """Write numbers as a range where they are evenly spaced, and as a list otherwise."""
    ordered = sorted(numbers)
    steps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    if len(ordered) < 3 or len(steps) > 1:
        return ",".join(map(str, ordered))
    step = steps.pop()
    return f"{ordered[0]}-{ordered[-1]}" + (f"/{step}" if step > 1 else "")
