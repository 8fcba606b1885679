"""Schedules in Kubeflow Pipelines' words, where they are recurring runs: what to send, and what an answer says.

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

# Short: a description has 255 characters in some versions.
SENTENCE = "Made by `mnist schedule apply`, which replaces it when mnist.toml changes."
MARK = re.compile(
    r"^mnist-schedule: (?P<profile>[a-z0-9-]+) (?P<name>[a-z0-9-]+) (?P<content>[0-9a-f]+)$", re.MULTILINE
)
VARIABLE = "CRON_SCHEDULE_TIMEZONE"
DEPLOYMENT = "ml-pipeline-scheduledworkflow"


def check(profile: KubeflowProfile, schedule: Schedule) -> None:
    """Refuse what Kubeflow Pipelines can't do.

    Raises:
        SettingError: The cron expression, or a time zone that is not the controller's.
    """
    cron.normalise(schedule.cron)
    zone = profile.controller_time_zone
    if not cron.same_zone(schedule.time_zone, zone):
        raise SettingError(
            f"time_zone {schedule.time_zone}: Kubeflow Pipelines fires all schedules in one time zone, which in "
            f'[{profile.name}] is {zone}. Write the cron expression for it, with time_zone = "{zone}"; or have the '
            f"cluster's zone changed: kubectl set env deployment/{DEPLOYMENT} --namespace kubeflow "
            f'{VARIABLE}={schedule.time_zone}, and then set controller_time_zone = "{schedule.time_zone}".'
        )


def build(
    profile: KubeflowProfile, schedule: Schedule, job: Job, mark: Mark, experiment_id: str
) -> kfp_server_api.V2beta1RecurringRun:
    """What makes a schedule."""
    start, end = (moment and cron.in_zone(moment, schedule.time_zone) for moment in (schedule.start, schedule.end))
    return kfp_server_api.V2beta1RecurringRun(
        display_name=f"{mark.profile}-{mark.name}",
        description=f"{SENTENCE}\nmnist-schedule: {mark.profile} {mark.name} {mark.content}",
        experiment_id=experiment_id,
        pipeline_spec=runs.build_pipeline(job),
        runtime_config=runs.build_config(profile, job),
        service_account=profile.service_account,
        # Seconds come first in its dialect, and it knows no time zone in it.
        trigger=_build_trigger(f"0 {cron.normalise(schedule.cron)}", start, end),
        max_concurrency=str(schedule.max_concurrency),
        no_catchup=True,
        mode=_mode(enabled=not schedule.paused),
    )


def build_again(recurring_run: kfp_server_api.V2beta1RecurringRun) -> kfp_server_api.V2beta1RecurringRun:
    """What makes the same schedule once more, firing."""
    old = recurring_run.trigger.cron_schedule
    return kfp_server_api.V2beta1RecurringRun(
        display_name=recurring_run.display_name,
        description=recurring_run.description,
        experiment_id=recurring_run.experiment_id,
        pipeline_spec=recurring_run.pipeline_spec,
        pipeline_version_reference=recurring_run.pipeline_version_reference,
        runtime_config=recurring_run.runtime_config,
        service_account=recurring_run.service_account or None,
        trigger=_build_trigger(old.cron, old.start_time, old.end_time),
        max_concurrency=recurring_run.max_concurrency,
        no_catchup=True,
        mode=_mode(enabled=True),
    )


def read_existing(profile: KubeflowProfile, recurring_run: kfp_server_api.V2beta1RecurringRun) -> Existing:
    """A recurring run, whoever made it, as a schedule."""
    trigger = recurring_run.trigger
    timing = trigger and (trigger.cron_schedule or trigger.periodic_schedule)
    end = timing.end_time if timing else None
    return Existing(
        id=recurring_run.recurring_run_id,
        title=recurring_run.display_name or "",
        mark=read_mark(recurring_run),
        cron=_read_cron(trigger),
        time_zone=profile.controller_time_zone,
        paused="DISABLED" in (recurring_run.status, f"{recurring_run.mode}D"),
        ended=end is not None and end <= datetime.now(UTC),
        created=recurring_run.created_at or runs.NEVER,
    )


def read_mark(recurring_run: kfp_server_api.V2beta1RecurringRun) -> Mark | None:
    """The mark in a description; None when somebody else made it."""
    match = MARK.search(recurring_run.description or "")
    return Mark(**match.groupdict()) if match else None


def has_missed(profile: KubeflowProfile, recurring_run: kfp_server_api.V2beta1RecurringRun) -> bool:
    """Whether a paused schedule would have fired since it was made.

    Kubeflow Pipelines makes up for the last of the times that were missed as soon as the schedule is enabled, whatever
    `no_catchup` says, and counts from the last run, of which it does not tell.
    """
    timing = recurring_run.trigger and recurring_run.trigger.cron_schedule
    five = _read_cron(recurring_run.trigger)
    if not timing or len(five.split()) != 5:
        return False
    first = cron.next_times(
        five,
        profile.controller_time_zone,
        after=recurring_run.created_at or runs.NEVER,
        count=1,
        start=timing.start_time,
        end=timing.end_time,
    )
    return bool(first) and first[0] <= datetime.now(UTC)


def _build_trigger(expression: str, start: datetime | None, end: datetime | None) -> kfp_server_api.V2beta1Trigger:
    # From a start that has passed, it would make up for times before the schedule was made.
    start = start if start and start > datetime.now(UTC) else None
    times = {name: moment.astimezone(UTC) for name, moment in (("start_time", start), ("end_time", end)) if moment}
    return kfp_server_api.V2beta1Trigger(cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=expression, **times))


def _mode(*, enabled: bool) -> str:
    return str(kfp_server_api.RecurringRunMode.ENABLE if enabled else kfp_server_api.RecurringRunMode.DISABLE)


def _read_cron(trigger: kfp_server_api.V2beta1Trigger | None) -> str:
    """Five fields where the seconds are 0; otherwise what stands there."""
    if trigger and trigger.cron_schedule:
        text = str(trigger.cron_schedule.cron or "")
        fields = text.split()
        return " ".join(fields[1:]) if len(fields) == 6 and fields[0] == "0" else text
    if trigger and trigger.periodic_schedule:
        return f"every {trigger.periodic_schedule.interval_second} seconds"
    return ""
