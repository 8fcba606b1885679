"""Tell from digits in a schedule's mark whether it is still what the file wants, and which part of it is not."""

import hashlib
import json
from datetime import UTC

from pipelines import cron
from pipelines.compilation import Job
from pipelines.profiles import Profile, Schedule

TIMES = "times"
# In this order, DIGITS of a hash each.
PARTS = (TIMES, "parameters", "pipeline or images", "profile or max_concurrency")
DIGITS = 8
FORM = 1  # raised when the same content makes another schedule than before


def fingerprint(schedule: Schedule, job: Job, profile: Profile) -> str:
    """Digits that change when anything does that makes a schedule what it is; whether it is paused does not.

    Returns:
        32 lower-case hexadecimal digits.

    Raises:
        SettingError: Its cron expression or time zone is refused.
    """
    limits = (moment and cron.in_zone(moment, schedule.time_zone) for moment in (schedule.start, schedule.end))
    times = [
        cron.normalise(schedule.cron),
        schedule.time_zone,
        *(limit and limit.astimezone(UTC).isoformat() for limit in limits),
    ]
    settings = [FORM, schedule.max_concurrency, profile.model_dump(mode="json", exclude=set(profile.identity_keys))]
    parts = (times, dict(job.parameters), list(job.documents), settings)
    return "".join(_digest(part) for part in parts)


def find_changes(old: str, new: str) -> list[str]:
    """Which of PARTS differ between two fingerprints; all of them when the old one is of another length."""
    if len(old) != len(new):
        return list(PARTS)
    return [part for part, then, now in zip(PARTS, _split(old), _split(new), strict=True) if then != now]


def _split(digits: str) -> list[str]:
    return [digits[first : first + DIGITS] for first in range(0, len(digits), DIGITS)]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
