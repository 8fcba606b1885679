"""Convert schedules to Kubeflow Pipelines' recurring runs, and back.

Works on values: knows neither network nor sign-in.
"""

import re
from datetime import UTC, datetime

import kfp_server_api

from components.mnist.errors import SettingError
from pipelines import cron
from pipelines.compilation import Job
from pipelines.platforms.base import Existing, Mark
from pipelines.platforms.kubeflow import runs
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.profiles import Schedule

# Short: some versions limit descriptions to 255 characters.
SENTENCE = "Made by `mnist schedule apply`, which replaces it when mnist.toml changes."
MARK = re.compile(
    r"^mnist-schedule: (?P<profile>[a-z0-9-]+) (?P<name>[a-z0-9-]+) (?P<content>[0-9a-f]+)$", re.MULTILINE
)
ENABLE, DISABLE = kfp_server_api.RecurringRunMode.ENABLE, kfp_server_api.RecurringRunMode.DISABLE


def check(profile: KubeflowProfile, schedule: Schedule) -> None:
    """Refuse a schedule that Kubeflow Pipelines does not support.

    Raises:
        SettingError: The cron expression is wrong, or the time zone is not the controller's.
    """
    cron.normalise(schedule.cron)
    zone = profile.controller_time_zone
    if not cron.same_zone(schedule.time_zone, zone):
        raise SettingError(
            f"time_zone {schedule.time_zone}: Kubeflow Pipelines fires all schedules in one time zone, which in "
            f'[{profile.name}] is {zone}. Write the cron expression for it, with time_zone = "{zone}"; or have the '
            "cluster's zone changed: kubectl set env deployment/ml-pipeline-scheduledworkflow --namespace kubeflow "
            f'CRON_SCHEDULE_TIMEZONE={schedule.time_zone}, and then set controller_time_zone = "{schedule.time_zone}".'
        )


def build(
    profile: KubeflowProfile, schedule: Schedule, job: Job, mark: Mark, experiment_id: str
) -> kfp_server_api.V2beta1RecurringRun:
    """Build the request that creates a schedule.

    Missed times are not caught up, with one exception that the platform does not let us turn off: if runs take longer
    than the interval, the last missed time fires as soon as `max_concurrency` allows.
    """
    start, end = (moment and cron.in_zone(moment, schedule.time_zone) for moment in (schedule.start, schedule.end))
    return kfp_server_api.V2beta1RecurringRun(
        **runs.describe(profile, job, experiment_id),
        display_name=f"{mark.profile}-{mark.name}",
        description=f"{SENTENCE}\nmnist-schedule: {mark.profile} {mark.name} {mark.content}",
        # Its dialect starts with seconds and has no time zone.
        trigger=_build_trigger(f"0 {cron.normalise(schedule.cron)}", start, end),
        max_concurrency=str(schedule.max_concurrency),
        no_catchup=True,
        mode=DISABLE if schedule.paused else ENABLE,
    )


def build_again(recurring_run: kfp_server_api.V2beta1RecurringRun) -> kfp_server_api.V2beta1RecurringRun:
    """Build the request that creates a copy of a schedule, enabled."""
    old = recurring_run.trigger.cron_schedule
    return kfp_server_api.V2beta1RecurringRun(
        **runs.describe_again(recurring_run),
        display_name=recurring_run.display_name,
        description=recurring_run.description,
        trigger=_build_trigger(old.cron, old.start_time, old.end_time),
        max_concurrency=recurring_run.max_concurrency,
        no_catchup=True,
        mode=ENABLE,
    )


def read_existing(profile: KubeflowProfile, recurring_run: kfp_server_api.V2beta1RecurringRun) -> Existing:
    """Convert a recurring run, the project's own or not, to a schedule."""
    match = MARK.search(recurring_run.description or "")
    trigger = recurring_run.trigger
    timing = trigger and (trigger.cron_schedule or trigger.periodic_schedule)
    end = timing.end_time if timing else None
    return Existing(
        id=recurring_run.recurring_run_id,
        title=recurring_run.display_name or "",
        mark=Mark(**match.groupdict()) if match else None,
        cron=_read_cron(trigger),
        time_zone=profile.controller_time_zone,
        paused="DISABLED" in (recurring_run.status, f"{recurring_run.mode}D"),
        ended=end is not None and end <= datetime.now(UTC),
        created=recurring_run.created_at or runs.NEVER,
    )


def has_missed(profile: KubeflowProfile, recurring_run: kfp_server_api.V2beta1RecurringRun) -> bool:
    """Whether a paused schedule would have fired since its creation.

    Kubeflow Pipelines runs the last missed time as soon as the schedule is enabled, even with `no_catchup`. It counts
    from the last run, whose time its API does not report; the time of creation is earlier.
    """
    timing = recurring_run.trigger and recurring_run.trigger.cron_schedule
    five = _read_cron(recurring_run.trigger)
    if not timing or len(five.split()) != 5:
        return False
    zone, made = profile.controller_time_zone, recurring_run.created_at or runs.NEVER
    first = cron.next_times(five, zone, after=made, count=1, start=timing.start_time, end=timing.end_time)
    return bool(first) and first[0] <= datetime.now(UTC)


def _build_trigger(expression: str, start: datetime | None, end: datetime | None) -> kfp_server_api.V2beta1Trigger:
    # With a start in the past, it would catch up on times before the schedule's creation.
    start = start if start and start > datetime.now(UTC) else None
    times = {name: moment.astimezone(UTC) for name, moment in (("start_time", start), ("end_time", end)) if moment}
    return kfp_server_api.V2beta1Trigger(cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=expression, **times))


def _read_cron(trigger: kfp_server_api.V2beta1Trigger | None) -> str:
    """Return five fields if the seconds are 0; else the platform's text."""
    if trigger and trigger.cron_schedule:
        text = str(trigger.cron_schedule.cron or "")
        fields = text.split()
        return " ".join(fields[1:]) if len(fields) == 6 and fields[0] == "0" else text
    if trigger and trigger.periodic_schedule:
        return f"every {trigger.periodic_schedule.interval_second} seconds"
    return ""
