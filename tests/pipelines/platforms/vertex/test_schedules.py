"""Schedules on Vertex AI, against a played server whose clock can be put forward."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.aiplatform_v1.types import CreateScheduleRequest
from google.cloud.aiplatform_v1.types import Schedule as VertexSchedule

from components.mnist.errors import SettingError
from pipelines import training
from pipelines.compilation import Job
from pipelines.platforms.base import ConflictError, DeniedError, Mark, MissingError, PlatformError
from pipelines.platforms.vertex import client
from pipelines.platforms.vertex.connection import Connection
from pipelines.platforms.vertex.requests import REQUEST_LABEL
from pipelines.profiles import Schedule
from tests.fakes.vertex.runs import Scene
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.test_profiles import vertex as make_profile
from tests.pipelines.platforms.vertex.clients import ACCOUNT, FULL, KEY, NETWORK, connect

MARK = Mark("cloud", "weekly", "0123456789abcdef0123456789abcdef")
LABELS = {"mnist-profile": "cloud", "mnist-schedule": "weekly", "mnist-content": MARK.content}


def make_schedule(**keys: Any) -> Schedule:
    return Schedule(**{"name": "weekly", "cron": "0 6 * * 1", "time_zone": "Europe/Berlin", **keys})


def list_states(server: VertexServer) -> list[str]:
    return [schedule.state.name for schedule in server.schedules.values()]


def make_theirs(server: VertexServer, schedule: VertexSchedule) -> None:
    """Make a schedule as somebody else would, by other means."""
    connection = Connection(make_profile(endpoint=server.endpoint))
    schedule.create_pipeline_job_request.parent = connection.profile.parent
    request = CreateScheduleRequest(parent=connection.profile.parent, schedule=schedule)
    connection.send(connection.schedules.create_schedule, request, asked="make it")


def their_schedule(job: Job, cron: str) -> VertexSchedule:
    pipeline = {"pipeline_spec": job.documents[0], "runtime_config": {"gcs_output_directory": "gs://theirs"}}
    return VertexSchedule(
        display_name="theirs",
        cron=cron,
        max_concurrent_run_count=3,
        create_pipeline_job_request={"pipeline_job": pipeline},
    )


def test_a_schedule_is_made_as_the_profile_says(server: VertexServer, job: Job) -> None:
    platform = connect(server, **FULL)
    existing = platform.create_schedule(make_schedule(max_concurrency=2), job, MARK)
    (made,) = server.schedules.values()
    assert made.name.endswith(f"/schedules/{existing.id}")
    assert made.cron == "TZ=Europe/Berlin 0 6 * * 1"
    assert (made.max_concurrent_run_count, made.max_concurrent_active_run_count, made.allow_queueing) == (2, 2, False)
    template = made.create_pipeline_job_request.pipeline_job
    assert (template.service_account, template.network) == (ACCOUNT, NETWORK)
    assert template.encryption_spec.kms_key_name == KEY
    assert {key: value for key, value in template.labels.items() if key != REQUEST_LABEL} == FULL["labels"] | LABELS
    assert dict(template.runtime_config.parameter_values) == job.parameters


def test_a_schedule_is_listed_with_all_that_is_known_of_it(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    before = datetime.now(UTC)
    existing = platform.create_schedule(make_schedule(), job, MARK)
    assert platform.list_schedules() == [existing]
    assert (existing.title, existing.mark) == ("mnist-training-cloud-weekly", MARK)
    assert (existing.cron, existing.time_zone) == ("0 6 * * 1", "Europe/Berlin")
    assert not existing.paused
    assert not existing.ended
    assert before <= existing.created <= datetime.now(UTC)
    assert existing.created.tzinfo is UTC


def test_a_schedule_can_be_paused_from_the_start(server: VertexServer, job: Job) -> None:
    existing = connect(server).create_schedule(make_schedule(paused=True), job, MARK)
    assert existing.paused
    assert list_states(server) == ["PAUSED"]
    server.pass_time(timedelta(days=15))
    assert not server.jobs


def test_a_schedule_that_cannot_be_paused_is_not_left_firing(server: VertexServer, job: Job) -> None:
    server.fail("PauseSchedule", "denied", times=None)
    with pytest.raises(DeniedError, match=r"could not pause the schedule \d+: it answered 403"):
        connect(server).create_schedule(make_schedule(paused=True), job, MARK)
    assert not server.schedules


def test_one_that_can_neither_be_paused_nor_deleted_is_reported(server: VertexServer, job: Job) -> None:
    for method in ("PauseSchedule", "DeleteSchedule"):
        server.fail(method, "denied", times=None)
    with pytest.raises(PlatformError, match=r"The schedule \d+ exists and fires, since it could not be deleted either"):
        connect(server).create_schedule(make_schedule(paused=True), job, MARK)
    assert list_states(server) == ["ACTIVE"]


def test_a_schedule_fires_in_its_zone_with_its_parameters(server: VertexServer, job: Job) -> None:
    existing = connect(server, **FULL).create_schedule(make_schedule(), job, MARK)
    due = server.schedules[existing.id].next_run_time
    assert (due.weekday(), due.minute) == (0, 0)
    assert due.hour in (4, 5)  # summer, winter
    server.pass_time(due + timedelta(minutes=1) - datetime.now(UTC))
    (run,) = server.jobs.values()
    assert run.schedule_name == server.schedules[existing.id].name
    assert (run.service_account, run.labels["mnist-content"]) == (ACCOUNT, MARK.content)


def test_no_more_runs_are_active_than_the_profile_says(server: VertexServer, job: Job) -> None:
    server.play([Scene("RUNNING")])
    connect(server).create_schedule(make_schedule(cron="0 * * * *", max_concurrency=2), job, MARK)
    server.pass_time(timedelta(hours=5))
    assert len(server.jobs) == 2


def test_start_and_end_are_in_the_schedules_zone(server: VertexServer, job: Job) -> None:
    start, end = datetime(2199, 1, 1, 6, 0), datetime(2199, 7, 1, 6, 0)
    existing = connect(server).create_schedule(make_schedule(start=start, end=end), job, MARK)
    made = server.schedules[existing.id]
    assert made.start_time == datetime(2199, 1, 1, 5, 0, tzinfo=UTC)
    assert made.end_time == datetime(2199, 7, 1, 4, 0, tzinfo=UTC)


def test_a_start_that_has_passed_is_left_out(server: VertexServer, job: Job) -> None:
    connect(server).create_schedule(make_schedule(start=datetime(2020, 1, 1)), job, MARK)
    (made,) = server.schedules.values()
    assert "start_time" not in made


def test_an_end_that_has_passed_is_refused(server: VertexServer, job: Job) -> None:
    words = r"schedule weekly: its end, 2020-01-01 05:00 UTC, has passed, so it would never fire\. Move the end"
    with pytest.raises(SettingError, match=words):
        connect(server).create_schedule(make_schedule(end=datetime(2020, 1, 1, 6)), job, MARK)
    assert not server.schedules


def test_a_schedule_whose_end_has_passed_says_so(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    end = datetime.now(UTC) + timedelta(days=10)
    platform.create_schedule(make_schedule(cron="0 6 * * *", end=end), job, MARK)
    server.pass_time(timedelta(days=11))
    (existing,) = platform.list_schedules()
    assert (existing.ended, existing.paused) == (True, False)
    with pytest.raises(ConflictError, match="is in state COMPLETED and cannot be paused"):
        platform.pause_schedule(existing.id)


def test_missed_times_are_not_made_up_for(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    id = platform.create_schedule(make_schedule(cron="0 6 * * *", time_zone="UTC"), job, MARK).id
    platform.pause_schedule(id)
    server.pass_time(timedelta(days=3))
    platform.resume_schedule(id)
    assert not server.jobs
    assert not server.schedules[id].catch_up
    server.pass_time(timedelta(days=1))
    assert len(server.jobs) == 1


def test_pausing_and_resuming_twice_changes_nothing(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    id = platform.create_schedule(make_schedule(), job, MARK).id
    platform.resume_schedule(id)
    assert list_states(server) == ["ACTIVE"]
    for _ in range(2):
        platform.pause_schedule(id)
    assert list_states(server) == ["PAUSED"]


def test_a_deleted_schedule_is_gone_and_its_runs_go_on(server: VertexServer, job: Job) -> None:
    platform = connect(server)
    id = platform.create_schedule(make_schedule(time_zone="UTC"), job, MARK).id
    server.pass_time(timedelta(days=7))
    platform.delete_schedule(id)
    platform.delete_schedule(id)
    assert not server.schedules
    assert [run.state.name for run in server.jobs.values()] == ["PIPELINE_STATE_PENDING"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [("It is in use.", "could not delete the schedule [0-9]+: It is in use."), ("", "within 0.1 seconds. Try again")],
    ids=["fails", "never ends"],
)
def test_a_deletion_that_does_not_succeed_is_explained(
    server: VertexServer, job: Job, monkeypatch: pytest.MonkeyPatch, reason: str, words: str
) -> None:
    if not reason:
        monkeypatch.setattr(client, "DELETE_SECONDS", 0.1)
    platform = connect(server)
    id = platform.create_schedule(make_schedule(), job, MARK).id
    server.spoil_deletions(reason)
    with pytest.raises(PlatformError, match=words):
        platform.delete_schedule(id)
    assert list_states(server) == ["ACTIVE"]


def test_a_schedule_runs_now_with_what_it_has(server: VertexServer, job: Job) -> None:
    platform = connect(server, **FULL)
    seeded = Job(job.documents, {**job.parameters, "seed": 7})
    id = platform.create_schedule(make_schedule(paused=True), seeded, MARK).id
    assert platform.run_schedule(id, name="mnist-now") == "mnist-now"
    run = server.jobs["mnist-now"]
    assert run.display_name == "mnist-now"
    assert run.runtime_config.parameter_values["seed"] == 7
    assert (run.service_account, run.labels["mnist-schedule"]) == (ACCOUNT, "weekly")
    assert list_states(server) == ["PAUSED"]


def test_a_schedule_that_does_not_exist_cannot_be_run(server: VertexServer) -> None:
    with pytest.raises(MissingError, match="could not read the schedule 123: it answered 404"):
        connect(server).run_schedule("123", name="mnist-now")
    assert not server.jobs


def test_all_pages_are_listed(server: VertexServer, job: Job) -> None:
    server.limit_pages(2)
    platform = connect(server)
    made = {platform.create_schedule(make_schedule(), job, Mark("cloud", f"s{n}", "a")).id for n in range(5)}
    assert {existing.id for existing in platform.list_schedules()} == made
    assert len(platform.list_schedules()) == 5


@pytest.mark.parametrize(
    ("theirs", "cron", "time_zone"),
    [
        ("CRON_TZ=America/New_York 1 * * * *", "1 * * * *", "America/New_York"),
        ("TZ=UTC 0 6 * * MON-FRI", "0 6 * * MON-FRI", "UTC"),
        ("30 4 1 * *", "30 4 1 * *", "UTC"),
    ],
)
def test_schedules_of_others_are_listed_as_they_are(
    server: VertexServer, job: Job, theirs: str, cron: str, time_zone: str
) -> None:
    make_theirs(server, their_schedule(job, theirs))
    (existing,) = connect(server).list_schedules()
    assert (existing.title, existing.mark, existing.cron, existing.time_zone) == ("theirs", None, cron, time_zone)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"time_zone": "Europe/Berlim"}, "time_zone Europe/Berlim: no such time zone; did you mean Europe/Berlin?"),
        ({"time_zone": "localtime"}, "time_zone localtime: no such time zone"),
        ({"cron": "0 6 * *"}, "cron 0 6 * *: expected five fields"),
        ({"cron": "0 6 L * *"}, "cron 0 6 L * *: L as day of month; expected"),
    ],
)
def test_what_vertex_ai_cannot_do_is_refused(server: VertexServer, keys: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError) as refused:
        connect(server).check_schedule(make_schedule(**keys))
    assert str(refused.value).startswith(words)


def test_what_vertex_ai_can_do_is_taken(server: VertexServer) -> None:
    connect(server).check_schedule(make_schedule(cron="*/5 0-6 1,15 JAN-MAR *", time_zone="Asia/Kathmandu"))


def test_the_schedule_is_what_googles_sdk_makes_of_the_same_file(
    server: VertexServer, job: Job, tmp_path: Path
) -> None:
    from google.cloud import aiplatform

    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(dict(job.documents[0])), encoding="utf-8")
    aiplatform.init(project="my-project", location="europe-west4", api_endpoint=server.endpoint)
    aiplatform.PipelineJob(
        display_name="theirs",
        template_path=str(tmp_path / "pipeline.yaml"),
        pipeline_root="gs://bucket/root",
        parameter_values=dict(job.parameters),
        labels=FULL["labels"],
        encryption_spec_key_name=KEY,
    ).create_schedule(
        cron="TZ=Europe/Berlin 0 6 * * 1",
        display_name="mnist-training-cloud-weekly",
        max_concurrent_run_count=1,
        max_concurrent_active_run_count=1,
        service_account=ACCOUNT,
        network=NETWORK,
    )
    connect(server, **FULL).create_schedule(make_schedule(), job, MARK)
    theirs, ours = map(VertexSchedule.to_dict, server.schedules.values())
    for own in ("name", "create_time", "update_time"):
        assert theirs.pop(own) != ours.pop(own)
    assert theirs.pop("next_run_time") == ours.pop("next_run_time")
    run = ours["create_pipeline_job_request"]["pipeline_job"]
    # The SDK leaves the name of runs out; and the marks are ours.
    assert run.pop("display_name") == f"{training.NAME}-cloud-weekly"
    assert theirs["create_pipeline_job_request"]["pipeline_job"].pop("display_name") == ""
    for label in (*LABELS, REQUEST_LABEL):
        del run["labels"][label]
    assert ours == theirs
