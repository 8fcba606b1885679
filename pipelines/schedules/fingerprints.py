"""Detect, by a hash in a schedule's mark, whether and in which parts it differs from the file."""

import hashlib
import json
from datetime import UTC

from pipelines import cron
from pipelines.compilation import Job
from pipelines.profiles import Profile, Schedule

TIMES = "times"
# Each part has DIGITS of a hash, in this order.
PARTS = (TIMES, "parameters", "pipeline or images", "profile or max_concurrency")
DIGITS = 8
FORM = 1  # increase it if the same content gives another schedule than before


def fingerprint(schedule: Schedule, job: Job, profile: Profile) -> str:
    """Return a hash of everything that defines a schedule, except whether it is paused.

    Returns:
        32 lower-case hexadecimal digits.

    Raises:
        SettingError: The cron expression or the time zone is refused.
    """
    limits = (moment and cron.in_zone(moment, schedule.time_zone) for moment in (schedule.start, schedule.end))
    times = [
        cron.normalise(schedule.cron),
        schedule.time_zone,
        *(limit and limit.astimezone(UTC).isoformat() for limit in limits),
    ]
    settings = [FORM, schedule.max_concurrency, profile.model_dump(mode="json", exclude=set(profile.identity_keys))]
    parts = (times, dict(job.parameters), list(job.documents), settings)
    texts = (json.dumps(part, sort_keys=True, separators=(",", ":")) for part in parts)
    return "".join(hashlib.sha256(text.encode()).hexdigest()[:DIGITS] for text in texts)


def find_changes(old: str, new: str) -> list[str]:
    """Return the PARTS that differ between two fingerprints; all of them if the old one has another length."""
    if len(old) != len(new):
        return list(PARTS)
    starts = range(0, len(new), DIGITS)
    return [
        part
        for part, start in zip(PARTS, starts, strict=True)
        if old[start : start + DIGITS] != new[start : start + DIGITS]
    ]
