"""Read cron expressions in the dialect that Kubeflow Pipelines and Vertex AI share, and compute their times.

Kubeflow Pipelines reads them with robfig/cron 1.2, which does not accept 7 for Sunday; Vertex AI reads unix-cron. An
expression that only one of them accepts is rewritten for both; one that would fire at different times is refused.
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

# The forms that both platforms accept: without ?, L, W and #.
PART = re.compile(r"(?P<span>\*|(\d{1,4}|[A-Z]{3})(-(\d{1,4}|[A-Z]{3}))?)(/(?P<step>\d{1,4}))?", re.ASCII)


class Field(NamedTuple):
    """One of the five fields.

    Attributes:
        parser: Reads names, and refuses numbers out of range.
        first, last: The range of `*`.
        names: Description of the names, for messages.
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
        SettingError: The expression is invalid, never fires, or would fire at different times on the platforms.
    """
    words = cron.split()
    if len(words) != len(FIELDS) or words[0].startswith(("@", "TZ=", "CRON_TZ=")):
        raise SettingError(
            f"cron {cron}: expected five fields: {', '.join(field.name for field in FIELDS)}, without a nickname such "
            "as @daily, and the time zone as time_zone. Example, Mondays at six: 0 6 * * 1"
        )
    try:
        numbers = [_read_field(word, field) for word, field in zip(words, FIELDS, strict=True)]
    except SettingError as error:
        raise SettingError(f"cron {cron}: {error}") from None
    fields = list(map(_write, words, numbers))
    for index in (2, 4):
        if "*" in words[index] and "*" not in (fields[2], fields[4]):
            raise SettingError(
                f"cron {cron}: {words[index]} as {FIELDS[index].name}, with both days given, is ambiguous: the "
                f"platforms require both to match, or either. Write {_spell(numbers[index])}, which means either."
            )
    normal = " ".join(fields)
    try:
        CronSim(normal, datetime.now(UTC))
    except CronSimError:
        raise SettingError(
            f"cron {cron}: never fires, since month {words[3]} has no day {words[2]}. Change one."
        ) from None
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
    """Compute the next times of a schedule.

    When clocks are put forward, skipped times do not fire; when they are put back, repeated times fire twice. This is
    the tested behaviour of robfig/cron 1.2 and 3.0; that of Vertex AI is undocumented. Where clocks are put forward at
    midnight, as in Cairo or Santiago, 1.2 may miss or move times of that day and the next month.

    Args:
        after: A moment, with a time zone.
        count: Largest number of times.
        start, end: The schedule fires after `start` and not after `end`; without a time zone, they are in `time_zone`.

    Returns:
        Moments in `time_zone`, the earliest first; fewer than `count` when `end` comes before.

    Raises:
        SettingError: The expression or the time zone is refused.
    """
    # Compared in UTC: within one zone, Python compares wall-clock times, which are ambiguous in a repeated hour.
    first = max(in_zone(moment, time_zone).astimezone(UTC) for moment in (after, start) if moment)
    last = in_zone(end, time_zone).astimezone(UTC) if end else None
    # With a field for seconds, CronSim does not move skipped times, as Debian's cron would.
    times = CronSim(f"0 {normalise(cron)}", first.astimezone(read_zone(time_zone)))
    real = (time for time in times if time.astimezone(UTC).astimezone(time.tzinfo) == time)
    within = itertools.takewhile(lambda time: last is None or time.astimezone(UTC) <= last, real)
    return list(itertools.islice(within, count))


@functools.cache
def read_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        SettingError: There is no such zone.
    """
    # Some machines have additional zone files, which no platform accepts.
    known = zoneinfo.available_timezones() - {"localtime", "Factory"}
    if name not in known:
        hint = suggest(name, known, otherwise="expected one such as UTC or Europe/Berlin.")
        raise SettingError(f"time_zone {name}: no such time zone; {hint}")
    return zoneinfo.ZoneInfo(name)


@functools.cache
def same_zone(one: str, other: str) -> bool:
    """Whether two time zones have the same offsets for the next five years, as UTC and Etc/UTC do.

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
    """Set the time zone of a moment that has none.

    Raises:
        SettingError: There is no such zone.
    """
    return moment if moment.tzinfo else moment.replace(tzinfo=read_zone(time_zone))


def _read_field(text: str, field: Field) -> set[int]:
    """Expand a list of `*`, `n` or `a-b`, each with or without a step, to numbers; Sunday is 0."""
    numbers: set[int] = set()
    parts = text.upper().split(",")
    for part in parts:
        refusal = SettingError(
            f"{part or 'nothing'} as {field.name}; expected {field.first} to {field.last}{field.names}, * alone, lists "
            "(1,5), ranges that run upwards (1-5) or steps (*/2)."
        )
        match = PART.fullmatch(part)
        # In a list, the platforms read * differently.
        if not match or (part == "*" and len(parts) > 1):
            raise refusal
        span, step = match["span"], int(match["step"] or 1)
        if span == "*":
            span = f"{field.first}-{field.last}"
        elif match["step"] and "-" not in span:
            span = f"{span}-{field.last}"
        if field.parser is Parser.DOW:
            span = re.sub(r"(?<!0)(?<!SUN)-(0+|SUN)$", "-7", span)  # the week may end with Sunday
        try:
            found = sorted(cast(set[int], field.parser.parse(span)))
        except CronSimError:
            raise refusal from None
        longest = max(1, len(found) - 1)
        if not 1 <= step <= longest:
            raise SettingError(f"{part} as {field.name}; expected a step from 1 to {longest} within {span}.")
        numbers.update(number % 7 if field.parser is Parser.DOW else number for number in found[::step])
    return numbers


def _write(word: str, numbers: set[int]) -> str:
    # A star is kept: with * as day of month or week only the other field counts, with 1-31 either matches.
    if not (match := re.fullmatch(r"\*(?:/0*(\d+))?", word)):
        return _spell(numbers)
    return "*" if match[1] in (None, "1") else f"*/{match[1]}"


def _spell(numbers: set[int]) -> str:
    """Write numbers as a range if they are evenly spaced, else as a list."""
    ordered = sorted(numbers)
    steps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    if len(ordered) < 3 or len(steps) > 1:
        return ",".join(map(str, ordered))
    step = steps.pop()
    return f"{ordered[0]}-{ordered[-1]}" + (f"/{step}" if step > 1 else "")
