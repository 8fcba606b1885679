"""Schedules on a played Kubeflow Pipelines: recurring runs, and the controller that starts them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api
import pytest

from components.mnist.errors import SettingError
from pipelines.platforms.base import Mark, MissingError, PlatformClient, PlatformError
from pipelines.platforms.kubeflow import client, connection
from pipelines.profiles import Schedule
from tests.fakes.kubeflow.jobs import new_job, new_profile
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.kubeflow.state import SUCCESS

MARK = Mark("cluster", "nightly", "0123456789abcdef0123456789abcdef")
FAR = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def platform(kubeflow_server: KubeflowServer) -> PlatformClient:
    return client.Kubeflow(new_profile(kubeflow_server))


def schedule(**more: Any) -> Schedule:
    return Schedule(**{"name": "nightly", "cron": "30 6 * * 1-5", **more})


def only(server: KubeflowServer) -> dict[str, Any]:
    [recurring_run] = server.recurring_runs.values()
    return recurring_run


def test_a_schedule_is_made_as_the_file_has_it(kubeflow_server: KubeflowServer) -> None:
    profile = new_profile(kubeflow_server, pipeline_root="gs://bucket/root", service_account="trainer")
    existing = client.Kubeflow(profile).create_schedule(schedule(max_concurrency=3), new_job(with_platform=True), MARK)
    made = only(kubeflow_server)
    assert made["trigger"] == {"cron_schedule": {"cron": "0 30 6 * * 1-5"}}
    assert (made["display_name"], made["max_concurrency"]) == ("cluster-nightly", "3")
    assert (made["no_catchup"], made["mode"], made["status"]) == (True, "ENABLE", "ENABLED")
    assert made["runtime_config"]["pipeline_root"] == "gs://bucket/root"
    assert made["runtime_config"]["parameters"] == dict(new_job().parameters)
    assert set(made["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert made["service_account"] == "trainer"
    assert kubeflow_server.experiments[made["experiment_id"]]["display_name"] == "mnist-training"
    assert (existing.mark, existing.cron, existing.time_zone) == (MARK, "30 6 * * 1-5", "UTC")
    assert (existing.paused, existing.ended, existing.title) == (False, False, "cluster-nightly")
    assert existing.id == made["recurring_run_id"]
    assert existing.created == datetime.fromisoformat(made["created_at"])


def test_what_people_read_of_a_schedule_fits_into_every_version(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    longest = Mark("p" * 30, "s" * 30, "f" * 64)
    assert platform.create_schedule(schedule(), new_job(), longest).mark == longest
    description = only(kubeflow_server)["description"]
    assert description.startswith("Made by `mnist schedule apply`, which replaces it when mnist.toml changes.\n")
    assert len(description) <= 255


def test_a_schedule_can_be_paused_from_the_start(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    assert platform.create_schedule(schedule(paused=True), new_job(), MARK).paused
    assert only(kubeflow_server)["status"] == "DISABLED"
    assert kubeflow_server.state.tick(datetime.now(UTC) + timedelta(days=7)) == []


def test_start_and_end_are_in_the_schedules_zone_where_they_name_none(kubeflow_server: KubeflowServer) -> None:
    kubeflow_server.state.time_zone = "Europe/Berlin"
    platform = client.Kubeflow(new_profile(kubeflow_server, controller_time_zone="Europe/Berlin"))
    both = {"start": datetime(2098, 7, 1, 6, 0), "end": datetime(2099, 1, 1, 6, 0, tzinfo=UTC)}
    platform.create_schedule(schedule(time_zone="Europe/Berlin", **both), new_job(), MARK)
    timing = only(kubeflow_server)["trigger"]["cron_schedule"]
    assert timing["start_time"] == "2098-07-01T04:00:00+00:00"
    assert timing["end_time"] == "2099-01-01T06:00:00+00:00"


def test_a_start_that_has_passed_makes_up_for_nothing(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    hourly = schedule(cron="0 * * * *", start=datetime(2020, 1, 1, tzinfo=UTC))
    platform.create_schedule(hourly, new_job(), MARK)
    made = datetime.fromisoformat(only(kubeflow_server)["created_at"])
    assert kubeflow_server.state.tick(made + timedelta(seconds=1)) == []
    # The controller itself would: it counts from a start before it counts from the making.
    only(kubeflow_server)["trigger"]["cron_schedule"]["start_time"] = "2020-01-01T00:00:00Z"
    assert len(kubeflow_server.state.tick(made + timedelta(seconds=1))) == 1


def test_a_schedule_whose_end_has_passed_has_ended(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    platform.create_schedule(schedule(end=FAR), new_job(), MARK)
    assert not platform.list_schedules()[0].ended
    only(kubeflow_server)["trigger"]["cron_schedule"]["end_time"] = "2020-01-01T00:00:00Z"
    assert platform.list_schedules()[0].ended


@pytest.mark.parametrize(("cron", "sent"), [("0 0 * * 7", "0 0 0 * * 0"), ("0 6 * JAN MON", "0 0 6 * 1 1")])
def test_cron_is_sent_in_the_servers_dialect(
    cron: str, sent: str, kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.create_schedule(schedule(cron=cron), new_job(), MARK)
    assert only(kubeflow_server)["trigger"]["cron_schedule"]["cron"] == sent


def test_every_schedule_of_the_namespace_is_listed_whoever_made_it(
    kubeflow_server: KubeflowServer, platform: PlatformClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAGE_SIZE", 2)
    for number in range(5):
        platform.create_schedule(schedule(), new_job(), Mark("cluster", f"s{number}", "ab"))
    other = client.Kubeflow(new_profile(kubeflow_server, experiment="another"))
    other.create_schedule(schedule(), new_job(), Mark("cluster", "elsewhere", "ab"))
    first = next(iter(kubeflow_server.recurring_runs.values()))
    first.update(description="by hand", trigger={"periodic_schedule": {"interval_second": "60"}}, display_name="theirs")
    listed = platform.list_schedules()
    assert [each.mark and each.mark.name for each in listed] == [None, "s1", "s2", "s3", "s4", "elsewhere"]
    assert (listed[0].title, listed[0].cron) == ("theirs", "every 60 seconds")
    assert kubeflow_server.calls.count("ListRecurringRuns") == 3


def test_another_cron_dialect_is_shown_in_its_own_words(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.create_schedule(schedule(), new_job(), MARK)
    only(kubeflow_server)["trigger"]["cron_schedule"]["cron"] = "15 0 6 * * 1"
    assert platform.list_schedules()[0].cron == "15 0 6 * * 1"


def test_schedules_are_paused_and_resumed(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    id = platform.create_schedule(schedule(), new_job(), MARK).id
    platform.pause_schedule(id)
    platform.pause_schedule(id)
    assert only(kubeflow_server)["status"] == "DISABLED"
    assert platform.list_schedules()[0].paused
    platform.resume_schedule(id)
    platform.resume_schedule(id)
    assert only(kubeflow_server)["status"] == "ENABLED"
    assert not platform.list_schedules()[0].paused


def test_a_schedule_that_was_resumed_makes_up_for_nothing(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    id = platform.create_schedule(schedule(cron="0 * * * *", max_concurrency=2), new_job(), MARK).id
    only(kubeflow_server)["created_at"] = "2026-01-01T00:30:00Z"
    platform.pause_schedule(id)
    before = only(kubeflow_server).copy()
    platform.resume_schedule(id)
    after = only(kubeflow_server)
    assert after["recurring_run_id"] != id
    mine = {
        "display_name",
        "description",
        "pipeline_spec",
        "runtime_config",
        "trigger",
        "max_concurrency",
        "no_catchup",
    }
    assert {key: after[key] for key in mine} == {key: before[key] for key in mine}
    assert (after["experiment_id"], after["status"]) == (before["experiment_id"], "ENABLED")
    made = datetime.fromisoformat(after["created_at"])
    assert kubeflow_server.state.tick(made + timedelta(seconds=1)) == []
    assert len(kubeflow_server.state.tick(made + timedelta(hours=1))) == 1


def test_the_controller_itself_makes_up_for_the_last_missed_time(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    # What the test above guards against: this is how the real controller counts, no_catchup or not.
    platform.create_schedule(schedule(cron="0 * * * *"), new_job(), MARK)
    only(kubeflow_server)["created_at"] = "2026-01-01T00:30:00Z"
    assert len(kubeflow_server.state.tick(datetime(2026, 1, 1, 5, 30, tzinfo=UTC))) == 1


@pytest.mark.parametrize("kind", ["lost", "cut-body", "503"])
def test_resuming_with_a_lost_reply_leaves_one_schedule(
    kind: str, kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    id = platform.create_schedule(schedule(cron="0 * * * *"), new_job(), MARK).id
    only(kubeflow_server)["created_at"] = "2026-01-01T00:30:00Z"
    platform.pause_schedule(id)
    kubeflow_server.fail("CreateRecurringRun", kind)
    platform.resume_schedule(id)
    assert only(kubeflow_server)["recurring_run_id"] != id
    assert only(kubeflow_server)["status"] == "ENABLED"


def test_resuming_that_is_refused_half_way_leaves_the_old_one(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    id = platform.create_schedule(schedule(cron="0 * * * *"), new_job(), MARK).id
    only(kubeflow_server)["created_at"] = "2026-01-01T00:30:00Z"
    platform.pause_schedule(id)
    kubeflow_server.fail("CreateRecurringRun", "403")
    with pytest.raises(PlatformError, match="could not create the schedule cluster-nightly: it answered 403"):
        platform.resume_schedule(id)
    assert only(kubeflow_server)["recurring_run_id"] == id
    assert only(kubeflow_server)["status"] == "DISABLED"


def test_deleting_what_is_gone_is_no_error(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    id = platform.create_schedule(schedule(), new_job(), MARK).id
    platform.delete_schedule(id)
    platform.delete_schedule(id)
    assert kubeflow_server.recurring_runs == {}


@pytest.mark.parametrize("method", ["pause_schedule", "resume_schedule"])
def test_a_schedule_that_is_not_there_is_missing(method: str, platform: PlatformClient) -> None:
    with pytest.raises(MissingError, match="Recurring run nothing not found"):
        getattr(platform, method)("nothing")


def test_a_schedule_is_run_now_as_it_is_on_the_platform(kubeflow_server: KubeflowServer) -> None:
    profile = new_profile(kubeflow_server, pipeline_root="gs://bucket/root", service_account="trainer")
    job = new_job(with_platform=True)
    id = client.Kubeflow(profile).create_schedule(schedule(), job, MARK).id
    # The profile has changed since: the schedule counts.
    changed = client.Kubeflow(new_profile(kubeflow_server, experiment="another"))
    run_id = changed.run_schedule(id, name="nightly-now-1")
    run, made = kubeflow_server.runs[run_id], only(kubeflow_server)
    assert run["display_name"] == "nightly-now-1"
    for key in ("pipeline_spec", "runtime_config", "service_account", "experiment_id"):
        assert run[key] == made[key]


def test_the_controller_starts_no_more_runs_than_allowed(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.create_schedule(schedule(cron="0 * * * *"), new_job(), MARK)
    first = datetime.fromisoformat(only(kubeflow_server)["created_at"]) + timedelta(hours=1)
    [run_id] = kubeflow_server.state.tick(first)
    assert kubeflow_server.state.tick(first + timedelta(hours=1)) == []
    kubeflow_server.script(SUCCESS)
    platform.read_run(run_id)
    assert len(kubeflow_server.state.tick(first + timedelta(hours=1))) == 1


def test_of_the_times_that_a_long_run_kept_from_firing_the_last_fires_when_it_has_ended(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.create_schedule(schedule(cron="0 * * * *"), new_job(), MARK)
    made = datetime.fromisoformat(only(kubeflow_server)["created_at"])
    first = made.replace(minute=0, second=0) + timedelta(hours=1)
    minutes = timedelta(minutes=1)
    kubeflow_server.script(SUCCESS)
    tick = kubeflow_server.state.tick
    [long_run] = tick(first)
    for late in (60, 120, 180, 230):
        assert tick(first + late * minutes) == []
    platform.read_run(long_run)
    # Three times were missed: one run starts, between two times, and nothing more before the next.
    [made_up] = tick(first + 231 * minutes)
    platform.read_run(made_up)
    assert tick(first + 239 * minutes) == []
    assert len(tick(first + 240 * minutes)) == 1


def test_a_time_zone_that_the_controller_has_not_is_refused_with_both_ways_out(platform: PlatformClient) -> None:
    with pytest.raises(SettingError) as caught:
        platform.check_schedule(schedule(time_zone="Europe/Berlin"))
    message = str(caught.value)
    assert message.startswith(
        "time_zone Europe/Berlin: Kubeflow Pipelines fires all schedules in one time zone, which in "
    )
    assert "[cluster] is UTC" in message
    assert "CRON_SCHEDULE_TIMEZONE=Europe/Berlin" in message
    assert "deployment/ml-pipeline-scheduledworkflow" in message
    assert 'controller_time_zone = "Europe/Berlin"' in message


def test_a_schedule_that_is_refused_makes_nothing(kubeflow_server: KubeflowServer, platform: PlatformClient) -> None:
    with pytest.raises(SettingError):
        platform.create_schedule(schedule(time_zone="Asia/Tokyo"), new_job(), MARK)
    with pytest.raises(SettingError, match="expected five fields"):
        platform.create_schedule(schedule(cron="* * *"), new_job(), MARK)
    assert (kubeflow_server.recurring_runs, kubeflow_server.experiments) == ({}, {})


@pytest.mark.parametrize(
    ("zone", "controller"), [("Etc/UTC", "UTC"), ("UTC", "Etc/UCT"), ("Europe/Berlin", "Europe/Berlin")]
)
def test_zones_that_mean_the_same_are_taken(zone: str, controller: str, kubeflow_server: KubeflowServer) -> None:
    platform = client.Kubeflow(new_profile(kubeflow_server, controller_time_zone=controller))
    platform.check_schedule(schedule(time_zone=zone))
    assert platform.create_schedule(schedule(time_zone=zone), new_job(), MARK).time_zone == controller


def test_a_recurring_run_that_the_server_cannot_describe_is_listed_all_the_same(
    kubeflow_server: KubeflowServer, platform: PlatformClient
) -> None:
    platform.create_schedule(schedule(), new_job(), MARK)
    kubeflow_server.fail(
        "ListRecurringRuns",
        "another",
        body=b'{"recurringRuns": [{"recurring_run_id": "x", "error": {"message": "?"}}]}',
    )
    [existing] = platform.list_schedules()
    assert (existing.id, existing.mark, existing.cron) == ("x", None, "")


def test_the_models_names_are_those_of_the_real_server() -> None:
    # The one field that is not spelled like all others; the played server takes it from here.
    assert kfp_server_api.V2beta1ListRecurringRunsResponse.attribute_map["recurring_runs"] == "recurringRuns"
