"""Read schedules of Vertex AI, the project's own or not. Pure: nothing is sent from here."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from google.cloud.aiplatform_v1.types import Schedule

from pipelines.platforms.base import Existing, Mark
from pipelines.platforms.vertex.requests import MARK_LABELS


def read_existing(schedule: Schedule) -> Existing:
    """Convert a schedule of Vertex AI."""
    labels = read_labels(schedule)
    # Tested by `in`: protobuf's maps return an empty text for a missing key.
    is_ours = all(label in labels for label in MARK_LABELS)
    # "TZ=Europe/Berlin 0 6 * * *"; without a zone, Vertex AI uses UTC.
    match = re.fullmatch(r"(?:CRON_)?TZ=(\S+)\s+(.*)", schedule.cron)
    time_zone, cron = (match[1], match[2]) if match else ("UTC", schedule.cron)
    return Existing(
        id=schedule.name.rpartition("/")[2],
        title=schedule.display_name,
        mark=Mark(*(labels[label] for label in MARK_LABELS)) if is_ours else None,
        cron=cron,
        time_zone=time_zone,
        paused=schedule.state == Schedule.State.PAUSED,
        ended=schedule.state == Schedule.State.COMPLETED,
        created=datetime.fromtimestamp(schedule.create_time.timestamp(), UTC),
    )


def read_labels(schedule: Schedule) -> Mapping[str, str]:
    """Return the labels of a schedule's runs."""
    return schedule.create_pipeline_job_request.pipeline_job.labels
