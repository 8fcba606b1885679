import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mnist.errors import SettingError
from pipelines import cron

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("0 6 * * 1", "0 6 * * 1"),
        ("  0\t6  * * 1 ", "0 6 * * 1"),
        ("00 06 01 01 *", "0 6 1 1 *"),
        ("0 6 * JAN,jul MON-Fri", "0 6 * 1,7 1-5"),
        ("*/15 */2 * * *", "*/15 */2 * * *"),
        ("*/1 * * * *", "* * * * *"),
        ("5-5 1-2/1 * * *", "5 1,2 * * *"),
        ("5,*/20 * * * *", "0,5,20,40 * * * *"),
        ("10/20 8/4 * * *", "10-50/20 8-20/4 * * *"),
        ("9,1,5,1 1-3,2-4 * * *", "1-9/4 1-4 * * *"),
        ("0 6 * * 7", "0 6 * * 0"),
        ("0 6 * * 0-7", "0 6 * * 0-6"),
        ("0 6 * * 7-7", "0 6 * * 0"),
        ("0 6 * * 5-7", "0 6 * * 0,5,6"),
        ("0 6 * * 6-7", "0 6 * * 0,6"),
        ("0 6 * * 1-7/2", "0 6 * * 0,1,3,5"),
        # To the end of the week, which is Saturday.
        ("0 6 * * 1/2", "0 6 * * 1-5/2"),
        ("0 6 * * SAT-SUN", "0 6 * * 0,6"),
        ("0 6 * * SUN-SUN", "0 6 * * 0"),
        ("0 6 * * FRI-0", "0 6 * * 0,5,6"),
        ("0 6 * * 3,7", "0 6 * * 0,3"),
        # Not the same as *: beside a day of month, * would leave only that day.
        ("0 6 1 * 0-6", "0 6 1 * 0-6"),
        ("0 6 1-31 * 1", "0 6 1-31 * 1"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 31 2 1", "0 0 31 2 1"),
    ],
)
def test_an_expression_is_rewritten_so_that_both_platforms_read_it_alike(written: str, normal: str) -> None:
    assert cron.normalise(written) == normal
    assert cron.normalise(normal) == normal


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "cron : expected five fields: minute, hour, day of month, month, day of week, without a nickname such as"),
        ("@daily", "cron @daily: expected five fields"),
        ("@every 1h", "expected five fields"),
        ("0 0 6 * * 1", "cron 0 0 6 * * 1: expected five fields: minute, hour"),
        ("6", "cron 6: expected five"),
        ("TZ=Europe/Berlin 0 6 * * 1", "and the time zone as time_zone"),
        ("CRON_TZ=UTC 6 * * 1", "and the time zone as time_zone"),
        (
            "60 6 * * 1",
            "60 as minute; expected 0 to 59, * alone, lists (1,5), ranges that run upwards",
        ),
        ("0 24 * * 1", "24 as hour; expected 0 to 23"),
        ("0 6 0 * *", "0 as day of month; expected 1 to 31"),
        ("0 6 * 13 *", "13 as month; expected 1 to 12 or JAN to DEC"),
        ("0 6 * JANUARY *", "JANUARY as month"),
        ("0 6 * * 8", "8 as day of week; expected 0 to 6 or SUN to SAT"),
        ("0 6 * * JAN", "JAN as day of week"),
        ("MON 6 * * *", "MON as minute"),
        ("0 6 L * *", "L as day of month"),
        ("0 6 15W * *", "15W as day of month"),
        ("0 6 * * 5L", "5L as day of week"),
        ("0 6 * * 1#2", "1#2 as day of week"),
        ("0 6 ? * 1", "? as day of month"),
        ("-1 6 * * 1", "-1 as minute"),
        ("0 6, * * 1", "nothing as hour"),
        ("0 6 * * *-5", "*-5 as day of week"),
        ("1.5 6 * * 1", "1.5 as minute"),
        ("٣ 6 * * 1", "٣ as minute"),
        ("0 1-2-3 * * 1", "1-2-3 as hour"),
        ("*/0 * * * *", "*/0 as minute; expected a step from 1 to 59 within 0-59."),
        ("*/90 * * * *", "*/90 as minute; expected a step from 1 to 59"),
        ("0-10/20 * * * *", "0-10/20 as minute; expected a step from 1 to 10 within 0-10."),
        ("0 22-2 * * *", "22-2 as hour; expected 0 to 23, * alone, lists (1,5), ranges that run upwards (1-5)"),
        (
            "0 6 * * FRI-TUE",
            "FRI-TUE as day of week; expected 0 to 6 or SUN to SAT, * alone, lists (1,5), ranges",
        ),
        ("5-5/2 * * * *", "5-5/2 as minute; expected a step from 1 to 1 within 5-5."),
        ("0 6 * * */7", "*/7 as day of week; expected a step from 1 to 6"),
        ("0 6 * * 1,*", "* as day of week; expected 0 to 6 or SUN to SAT, * alone"),
        ("0 6 31 2 *", "never fires, since month 2 has no day 31. Change one."),
        ("0 6 31 4,6,SEP *", "never fires, since month 4,6,SEP has no day 31."),
        ("0 6 30-31 FEB *", "never fires"),
        ("0 6 */10 * 1", "*/10 as day of month, with both days given, is ambiguous"),
        ("0 6 */10 * 1", "Write 1-31/10, which means either."),
        ("0 6 1 * */2", "*/2 as day of week, with both days given, is ambiguous"),
        ("0 6 1 * 1,*/3", "Write 0,1,3,6, which means either."),
    ],
)
def test_what_one_platform_would_refuse_or_read_differently_is_refused(written: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        cron.normalise(written)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def moments(*times: str) -> list[datetime]:
    return [datetime.fromisoformat(time) for time in times]


@pytest.mark.parametrize(
    ("written", "after", "times"),
    # As robfig/cron 1.2.0 and 3.0.1 answered, asked in Go: the library of Kubeflow Pipelines, and its successor.
    [
        (
            "30 2 * * *",
            "2027-03-26T12:00:00+01:00",
            moments("2027-03-27T02:30+01:00", "2027-03-29T02:30+02:00", "2027-03-30T02:30+02:00"),
        ),
        (
            "30 2 * * *",
            "2027-10-30T12:00:00+02:00",
            moments("2027-10-31T02:30+02:00", "2027-10-31T02:30+01:00", "2027-11-01T02:30+01:00"),
        ),
        (
            "0 */2 * * *",
            "2027-03-27T23:00:00+01:00",
            moments("2027-03-28T00:00+01:00", "2027-03-28T04:00+02:00", "2027-03-28T06:00+02:00"),
        ),
        (
            "0 * * * *",
            "2027-10-31T01:30:00+02:00",
            moments("2027-10-31T02:00+02:00", "2027-10-31T02:00+01:00", "2027-10-31T03:00+01:00"),
        ),
        (
            "0 6 * * *",
            "2027-03-27T06:00:00+01:00",
            moments("2027-03-28T06:00+02:00", "2027-03-29T06:00+02:00", "2027-03-30T06:00+02:00"),
        ),
    ],
    ids=["gap", "doubled-hour", "every-two-hours", "hourly", "outside"],
)
def test_times_around_a_change_of_the_clock_are_those_of_the_platforms_library(
    written: str, after: str, times: list[datetime]
) -> None:
    found = cron.next_times(written, "Europe/Berlin", after=datetime.fromisoformat(after), count=3)
    # As text: Python never calls moments of two zones equal that lie in a doubled hour.
    assert [time.isoformat() for time in found] == [time.isoformat() for time in times]
    assert all(time.tzinfo == ZoneInfo("Europe/Berlin") for time in found)


def test_days_of_month_and_of_week_are_either_when_both_are_given() -> None:
    found = cron.next_times("0 6 1,15 * MON", "UTC", after=MONDAY, count=4)
    assert [(time.month, time.day) for time in found] == [(11, 30), (12, 1), (12, 7), (12, 14)]


def test_a_schedule_fires_after_its_start_and_up_to_its_end() -> None:
    found = cron.next_times(
        "0 6 * * *",
        "Europe/Berlin",
        after=MONDAY,
        count=9,
        start=datetime(2026, 11, 25, 6, 0),
        end=datetime(2026, 11, 27, 5, 0, tzinfo=UTC),
    )
    assert found == moments("2026-11-26T06:00+01:00", "2026-11-27T06:00+01:00")


def test_a_start_that_has_passed_changes_nothing() -> None:
    with_start = cron.next_times("0 6 * * *", "UTC", after=MONDAY, count=3, start=datetime(2020, 1, 1))
    assert with_start == cron.next_times("0 6 * * *", "UTC", after=MONDAY, count=3)


def test_a_start_within_a_doubled_hour_is_one_of_its_two_moments() -> None:
    second = datetime(2027, 10, 31, 2, 15, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    found = cron.next_times("30 2 * * *", "Europe/Berlin", after=MONDAY, count=2, start=second)
    assert [time.isoformat() for time in found] == ["2027-10-31T02:30:00+01:00", "2027-11-01T02:30:00+01:00"]
    first = cron.next_times("30 2 * * *", "Europe/Berlin", after=second.replace(fold=0), count=9, end=second)
    assert [time.isoformat() for time in first] == ["2027-10-31T02:30:00+02:00"]


def test_nothing_fires_once_the_end_has_passed() -> None:
    assert cron.next_times("0 6 * * *", "UTC", after=MONDAY, count=3, end=datetime(2026, 11, 23, 12, 0)) == []


def test_the_present_minute_has_fired_already() -> None:
    at_six = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    assert cron.next_times("0 6 * * *", "UTC", after=at_six, count=1) == [at_six + timedelta(days=1)]
    just_before = at_six - timedelta(microseconds=1)
    assert cron.next_times("0 6 * * *", "UTC", after=just_before, count=1) == [at_six]


def test_a_schedule_of_the_leap_day_waits_for_leap_years() -> None:
    found = cron.next_times("0 0 29 2 *", "UTC", after=MONDAY, count=2)
    assert [time.year for time in found] == [2028, 2032]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("utc", "did you mean UTC?"),
        ("localtime", "no such time zone"),
        ("posix/Europe/Berlin", "no such time zone"),
        ("../etc/passwd", "no such time zone"),
        ("", "expected one such as UTC or Europe/Berlin."),
        ("+01:00", "expected one such as UTC or Europe/Berlin."),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest_known_one(name: str, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        cron.next_times("0 6 * * *", name, after=MONDAY, count=1)
    assert f"time_zone {name}: no such time zone; " in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("UTC", "Etc/UTC", True),
        ("UTC", "GMT", True),
        ("Europe/Berlin", "Europe/Berlin", True),
        ("Europe/Berlin", "Arctic/Longyearbyen", True),
        ("UTC", "Europe/London", False),
        ("America/New_York", "America/Havana", False),
        ("Europe/Berlin", "Africa/Algiers", False),
    ],
)
def test_zones_are_the_same_when_their_clocks_are(one: str, other: str, same: bool) -> None:
    assert cron.same_zone(one, other) is same
    assert cron.same_zone(other, one) is same


NAMES = {
    "month": ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    "day of week": ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}


def part_of(field: cron.Field) -> st.SearchStrategy[tuple[str, set[int]]]:
    """A part of a field as one may write it, and the numbers that it means."""

    def number(value: int) -> tuple[str, set[int]]:
        return str(value), {value}

    def span(ends: tuple[int, int], step: int) -> tuple[str, set[int]]:
        first, last = sorted(ends)
        step = min(step, max(1, last - first))
        return f"{first}-{last}" + (f"/{step}" if step > 1 else ""), set(range(first, last + 1, step))

    def name(value: int) -> tuple[str, set[int]]:
        return (NAMES[field.name][value - field.first], {value}) if field.name in NAMES else number(value)

    values = st.integers(field.first, 7 if field.name == "day of week" else field.last)
    names = st.integers(field.first, field.last)
    ends = st.tuples(values, values)
    return st.one_of(st.builds(number, values), st.builds(name, names), st.builds(span, ends, st.integers(1, 9)))


def field_of(field: cron.Field) -> st.SearchStrategy[tuple[str, set[int]]]:
    everything = st.just(("*", set(range(field.first, field.last + 1))))
    stepped = st.integers(2, 5).map(lambda step: (f"*/{step}", set(range(field.first, field.last + 1, step))))
    several = st.lists(part_of(field), min_size=1, max_size=3).map(
        lambda parts: (",".join(text for text, _ in parts), set().union(*(numbers for _, numbers in parts)))
    )
    return st.one_of(everything, stepped, several)


@given(st.tuples(*map(field_of, cron.FIELDS)), st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)))
def test_a_normalised_expression_fires_at_the_times_that_were_written(
    fields: tuple[tuple[str, set[int]], ...], after: datetime
) -> None:
    written = " ".join(text for text, _ in fields)
    try:
        normal = cron.normalise(written)
    except SettingError as refused:
        error = str(refused)
    else:
        error = ""
    if error:
        assert "never fires" in error or "with both days given" in error
        return
    assert cron.normalise(normal) == normal
    day, weekday = normal.split()[2::2]
    # Both days have to match: for robfig/cron 1.2 where either holds a star, for unix-cron where either is one.
    assert ("*" in day + weekday) == ("*" in (day, weekday))
    found = cron.next_times(normal, "UTC", after=after.replace(tzinfo=UTC), count=4)
    assert found == cron.next_times(written, "UTC", after=after.replace(tzinfo=UTC), count=4)
    assert found == list(itertools.islice(simple_times(fields, after.replace(tzinfo=UTC)), len(found)))


def simple_times(fields: tuple[tuple[str, set[int]], ...], after: datetime) -> itertools.chain[datetime]:
    """The definition of cron in its simplest form: try every day, then every hour and minute of it."""
    minutes, hours, days, months, weekdays = (numbers for _, numbers in fields)
    either = fields[2][0][0] != "*" and fields[4][0][0] != "*"

    def matches(day: datetime) -> bool:
        of_month, of_week = day.day in days, bool({day.isoweekday(), day.isoweekday() % 7} & weekdays)
        return day.month in months and (of_month or of_week if either else of_month and of_week)

    first = after.replace(hour=0, minute=0, second=0, microsecond=0)
    every_day = (first + timedelta(days=passed) for passed in range(366 * 30))
    times = (
        day.replace(hour=hour, minute=minute)
        for day in every_day
        if matches(day)
        for hour in sorted(hours)
        for minute in sorted(minutes)
    )
    return itertools.chain(time for time in times if time > after)
