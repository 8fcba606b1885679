from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines import cron
from pipelines.commands import schedule_actions
from pipelines.platforms.base import Existing, Mark
from pipelines.profiles import Profile
from tests.fakes.memory_platform import MemoryPlatform, interrupt_after, refuse
from tests.fakes.schedule_command import DIGEST, ScheduleCommand, push_images

FILE = """
[prod]
platform = "vertex"
project = "my-project-1"
region = "europe-west4"
pipeline_root = "gs://bucket/root"

[[prod.schedules]]
name = "nightly"
cron = "30 2 * * *"
time_zone = "Europe/Berlin"

[[prod.schedules]]
name = "weekly-retraining"
cron = "0 6 * * MON"
parameters = { epochs = 10 }
"""
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def platform() -> MemoryPlatform:
    return MemoryPlatform()


@pytest.fixture
def schedule(platform: MemoryPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScheduleCommand:
    """Runs in a folder with FILE, on the platform in memory."""
    (tmp_path / "mnist.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule_actions, "connect", lambda profile: platform)
    return ScheduleCommand(monkeypatch, on="prod")


def existing_one(
    id: str, name: str, *, owner: str | None = "prod", paused: bool = False, ended: bool = False
) -> Existing:
    mark = Mark(owner, name, "0" * 32) if owner else None
    return Existing(id, name, mark, "0 7 * * 1", "UTC", paused, ended, LONG_AGO)


def put(platform: MemoryPlatform, *existing: Existing) -> None:
    platform.existing.update({each.id: each for each in existing})


def test_a_plan_says_what_would_change_and_when_each_fires_next(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    put(platform, existing_one("7", "hourly"), existing_one("6", "weekly-retraining", paused=True))
    code, lines, _ = schedule("plan")
    assert code == 0
    assert lines[0] == "create   nightly            30 2 * * * Europe/Berlin: new"
    times = cron.next_times("30 2 * * *", "Europe/Berlin", after=datetime.now(UTC), count=5)
    assert lines[1] == f"    next {times[0]:%a %Y-%m-%d} 02:30{times[0]:%z}"[:-2] + ":00"
    assert [line[9:] for line in lines[1:6]] == [f"{time:%a} {time.isoformat(' ', 'minutes')}" for time in times]
    assert lines[6].startswith("replace  weekly-retraining  0 6 * * 1 UTC: changed: cron 0 7 * * 1 -> 0 6 * * 1, param")
    assert lines[7].startswith("(paused) Mon ")
    assert lines[7].endswith(" 06:00+00:00")
    assert lines[12] == "orphan   hourly             0 7 * * 1 UTC (7): not in the file; kept until apply --prune"
    assert lines[13:] == ["2 changes; to apply: mnist schedule apply --on prod"]
    assert platform.log == []


def test_the_exit_code_of_plan_check_says_whether_apply_would_change_something(schedule: ScheduleCommand) -> None:
    assert schedule("plan", "--check")[0] == 10
    assert schedule("apply")[0] == 0
    code, lines, _ = schedule("plan", "--check")
    assert code == 0
    assert lines[-1] == "Nothing to change."


def test_the_plan_shows_an_end_before_the_fifth_time(schedule: ScheduleCommand) -> None:
    text = FILE.replace('cron = "0 6 * * MON"', 'cron = "0 6 1 1 *"\nend = 2028-01-02T00:00:00')
    Path("mnist.toml").write_text(
        text + '[[prod.schedules]]\nname = "past"\ncron = "0 6 * * *"\nend = 2026-01-01T00:00:00'
    )
    _, lines, _ = schedule("plan")
    assert lines[-6:] == [
        *lines[-6:-4],
        "         then no more: its end is Sun 2028-01-02 00:00+00:00",
        "over     past               0 6 * * * UTC: its last time has passed, nothing to do",
        "         never again: its end is Thu 2026-01-01 00:00+00:00",
        "2 changes; to apply: mnist schedule apply --on prod",
    ]


def test_apply_follows_the_file_and_changes_nothing_the_second_time(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    put(platform, existing_one("7", "hourly"), existing_one("6", "weekly-retraining", paused=True))
    code, lines, _ = schedule("apply", "--prune")
    assert code == 0
    assert lines == [
        "created  nightly            30 2 * * * Europe/Berlin: new",
        "replaced weekly-retraining  0 6 * * 1 UTC: changed: cron 0 7 * * 1 -> 0 6 * * 1, parameters, pipeline or "
        "images, profile or max_concurrency",
        "removed  hourly             0 7 * * 1 UTC (7): not in the file",
    ]
    assert sorted((each.title, each.paused) for each in platform.existing.values()) == [
        ("nightly", False),
        ("weekly-retraining", True),
    ]
    [weekly] = [job for id, job in platform.jobs.items() if platform.existing[id].title == "weekly-retraining"]
    assert weekly.parameters["epochs"] == 10
    assert f"@sha256:{DIGEST}" in str(weekly.documents)
    log = list(platform.log)
    code, lines, _ = schedule("apply", "--prune")
    assert code == 0
    assert lines == [
        "kept     nightly            30 2 * * * Europe/Berlin: unchanged",
        "kept     weekly-retraining  0 6 * * 1 UTC: unchanged, paused",
        "Nothing to change.",
    ]
    assert platform.log == log


def test_other_images_replace_every_schedule(
    schedule: ScheduleCommand, platform: MemoryPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule("apply")
    push_images(monkeypatch, "5a" * 32)
    _, lines, _ = schedule("apply")
    assert lines == [
        "replaced nightly            30 2 * * * Europe/Berlin: changed: pipeline or images",
        "replaced weekly-retraining  0 6 * * 1 UTC: changed: pipeline or images",
    ]
    assert len(platform.existing) == 2


def test_a_change_that_failed_is_shown_at_the_end_and_the_others_are_made(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    platform.faults = {0: refuse}
    code, lines, complained = schedule("apply")
    assert code == 1
    assert lines == ["created  weekly-retraining  0 6 * * 1 UTC: new"]
    assert complained.splitlines() == [
        "create nightly: The platform refuses.",
        "1 not done. Fix the cause, then repeat: mnist schedule apply --on prod",
    ]


def test_an_interrupted_apply_says_how_to_finish_it(schedule: ScheduleCommand, platform: MemoryPlatform) -> None:
    put(platform, existing_one("6", "weekly-retraining"))
    platform.faults = {1: interrupt_after}
    code, _, complained = schedule("apply", "--prune")
    assert code == 130
    assert complained.endswith(
        "To finish, including a half-replaced schedule: mnist schedule apply --on prod --prune\n"
    )
    assert complained.count("\n") == 1
    assert len(platform.existing) == 3
    _, lines, _ = schedule("apply", "--prune")
    assert lines[-1] == (
        "removed  weekly-retraining  0 7 * * 1 UTC (6): already replaced, left over from an interrupted apply"
    )
    assert len(platform.existing) == 2


def test_nothing_is_changed_when_one_schedule_is_wrong(schedule: ScheduleCommand, platform: MemoryPlatform) -> None:
    Path("mnist.toml").write_text(FILE.replace("epochs = 10", "epochs = 0"))
    put(platform, existing_one("6", "weekly-retraining"))
    code, lines, complained = schedule("apply")
    assert (code, lines) == (1, [])
    assert complained == "[prod] schedule weekly-retraining: epochs=0: expected 1 to 1000."
    assert platform.log == []


def test_the_list_shows_schedules_of_others_apart_without_control_characters(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    others = [
        replace(existing_one("9", "some[bold]one's\x1b[2J", owner=None), cron="@every 1h"),
        existing_one("8", "nightly", owner="dev"),
    ]
    put(platform, *others, existing_one("6", "weekly-retraining", paused=True), existing_one("5", "old", ended=True))
    _, lines, _ = schedule("list")
    assert lines == [
        "ended    old                0 7 * * 1 UTC, since 2026-01-01 (5)",
        "paused   weekly-retraining  0 7 * * 1 UTC, since 2026-01-01 (6)",
        "Created by others, never changed:",
        "active   nightly              0 7 * * 1 UTC, since 2026-01-01 (8, profile dev)",
        "active   some[bold]one's?[2J  @every 1h UTC, since 2026-01-01 (9)",
    ]


def test_the_list_says_that_there_are_none(schedule: ScheduleCommand) -> None:
    assert schedule("list") == (0, ["Profile prod has no schedules on the platform."], "")


def test_a_schedule_is_paused_and_resumed_by_its_name(schedule: ScheduleCommand, platform: MemoryPlatform) -> None:
    schedule("apply")
    [nightly] = [each.id for each in platform.existing.values() if each.title == "nightly"]
    assert schedule("pause", "nightly") == (0, ["paused   nightly"], "")
    assert platform.existing[nightly].paused
    # The file does not say, so apply leaves it alone.
    assert schedule("apply")[1][0].endswith("unchanged, paused")
    assert schedule("resume", nightly) == (0, ["resumed  nightly"], "")
    assert not platform.existing[nightly].paused


def test_pausing_warns_when_the_next_apply_would_resume_it(schedule: ScheduleCommand, platform: MemoryPlatform) -> None:
    Path("mnist.toml").write_text(FILE.replace("30 2 * * *", '30 2 * * *"\npaused = false\n#"'))
    schedule("apply")
    assert schedule("pause", "nightly")[1] == [
        "paused   nightly",
        "The file says paused = false: the next apply resumes it.",
    ]
    assert schedule("apply")[1][0] == (
        "resumed  nightly            30 2 * * * Europe/Berlin: the file says paused = false"
    )
    Path("mnist.toml").write_text(FILE.replace("30 2 * * *", '30 2 * * *"\npaused = true\n#"'))
    schedule("apply")
    assert schedule("resume", "nightly")[1][1] == "The file says paused = true: the next apply pauses it."


def test_run_now_prints_the_page_and_how_to_follow(schedule: ScheduleCommand, platform: MemoryPlatform) -> None:
    put(platform, existing_one("6", "weekly-retraining"))
    code, lines, _ = schedule("run-now", "weekly-retraining")
    [run] = platform.runs
    assert code == 0
    assert run.startswith("weekly-retraining-20")
    assert platform.runs == {run: "6"}
    assert lines == [
        f"run   {run}",
        f"page  https://platform.example.com/runs/{run}",
        f"follow it: mnist follow {run} --on prod",
    ]


def test_an_interrupted_run_now_says_by_which_name_to_look_for_the_run(
    schedule: ScheduleCommand, platform: MemoryPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_id: str, *, name: str) -> str:
        names.append(name)
        raise KeyboardInterrupt

    names: list[str] = []
    put(platform, existing_one("6", "weekly-retraining"))
    monkeypatch.setattr(platform, "run_schedule", interrupt)
    code, lines, complained = schedule("run-now", "weekly-retraining")
    assert (code, lines) == (130, [])
    assert complained == (
        f"Interrupted. The run {names[0]} may or may not have been started. Look for this name on the platform's page "
        "of runs.\n"
    )


def test_deleting_a_schedule_of_the_file_warns_that_apply_creates_it_again(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    put(platform, existing_one("6", "weekly-retraining"), existing_one("5", "old"))
    assert schedule("delete", "weekly-retraining")[1] == [
        "removed  weekly-retraining",
        "It is still in mnist.toml: the next apply creates it again.",
    ]
    assert schedule("delete", "old")[1] == ["removed  old"]
    assert platform.existing == {}
    code, lines, _ = schedule("delete", "weekly-retraining")
    assert (code, lines) == (
        0,
        ["weekly-retraining: not on the platform, nothing to remove. It is in mnist.toml: the next apply creates it."],
    )


def test_a_schedule_that_exists_twice_is_paused_and_deleted_whole_but_not_resumed(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    put(platform, existing_one("6", "weekly-retraining"), existing_one("5", "weekly-retraining"))
    assert schedule("pause", "weekly-retraining")[1] == ["paused   weekly-retraining"] * 2
    for verb in ("resume", "run-now"):
        code, _, complained = schedule(verb, "weekly-retraining")
        assert code == 1
        assert complained == (
            "weekly-retraining: exists 2 times (6, 5), left by an interrupted apply. To finish it: mnist schedule "
            "apply --on prod"
        )
    assert schedule("delete", "weekly-retraining")[0] == 0
    assert platform.existing == {}


def test_an_ended_schedule_is_not_resumed_and_need_not_be_paused(
    schedule: ScheduleCommand, platform: MemoryPlatform
) -> None:
    put(platform, existing_one("6", "weekly-retraining", ended=True))
    code, _, complained = schedule("resume", "weekly-retraining")
    assert code == 1
    assert complained == (
        "weekly-retraining: has ended and will not fire again. Change its end in mnist.toml, then: "
        "mnist schedule apply --on prod"
    )
    assert schedule("pause", "weekly-retraining")[1] == ["ended    weekly-retraining: it never fires again"]
    assert platform.log == []


@pytest.mark.parametrize("verb", ["pause", "resume", "run-now", "delete"])
def test_schedules_of_others_are_refused(schedule: ScheduleCommand, platform: MemoryPlatform, verb: str) -> None:
    others = [
        existing_one("9", "by-hand", owner=None),
        existing_one("8", "theirs", owner="dev"),
        existing_one("7", "nightly"),
    ]
    put(platform, *others)
    for name, message in [
        ("by-hand", "by-hand: was not created by this command, so [prod] does not change it."),
        ("8", "8: belongs to profile dev, so [prod] does not change it."),
        ("nihgtly", "[prod] has no such schedule on the platform; did you mean nightly?"),
    ]:
        code, lines, complained = schedule(verb, name)
        assert (code, lines) == (1, [])
        assert message in complained
    assert platform.log == []
    assert platform.runs == {}
    assert list(platform.existing.values()) == others


def test_an_unknown_profile_is_refused_before_anything_is_asked(
    schedule: ScheduleCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(profile: Profile) -> MemoryPlatform:
        raise AssertionError(f"asked for {profile.name}")

    monkeypatch.setattr(schedule_actions, "connect", connect)
    code, _, complained = schedule("plan", on="prd")
    assert code == 1
    assert complained.startswith("--on prd: ")
    assert complained.endswith("no such profile in mnist.toml; did you mean prod?")
