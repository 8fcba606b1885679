import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.mnist.errors import MnistError
from pipelines import container_images, cron
from pipelines.commands import schedule as schedule_command
from pipelines.commands import schedule_screen
from pipelines.platforms.base import Existing, Mark
from pipelines.profiles import Profile
from tests.fakes.memory_platform import MemoryPlatform, interrupt_after, refuse

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
DIGEST = "3f" * 32

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def platform() -> MemoryPlatform:
    return MemoryPlatform()


@pytest.fixture
def schedule(platform: MemoryPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `mnist schedule ...` in a folder with FILE; gives exit code, output and errors."""
    (tmp_path / "mnist.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule_command, "connect", lambda profile: platform)
    monkeypatch.setattr(container_images, "remote_references", pushed)

    def run(*words: str, on: str = "prod") -> tuple[int, str, str]:
        written, complained = io.StringIO(), io.StringIO()
        for module in (schedule_command, schedule_screen):
            monkeypatch.setattr(module, "console", Console(file=written, highlight=False, width=100))
        monkeypatch.setattr(schedule_command, "errors", Console(file=complained, highlight=False, width=100))
        finished = CliRunner().invoke(schedule_command.app, [*words, "--on", on])
        if finished.exception and not isinstance(finished.exception, SystemExit):
            if not isinstance(finished.exception, MnistError):
                raise finished.exception
            complained.write(str(finished.exception))
        return finished.exit_code, written.getvalue(), complained.getvalue()

    return run


def pushed(_lock: Path) -> dict[str, str]:
    """As `make push` leaves it, of which a tree with uncommitted changes would not read anything."""
    return {image: f"registry.example.com/{image}@sha256:{DIGEST}" for image in container_images.IMAGES}


def stand(id: str, name: str, *, owner: str | None = "prod", paused: bool = False, ended: bool = False) -> Existing:
    mark = Mark(owner, name, "0" * 32) if owner else None
    return Existing(id, name, mark, "0 7 * * 1", "UTC", paused, ended, LONG_AGO)


def put(platform: MemoryPlatform, *existing: Existing) -> None:
    platform.existing.update({each.id: each for each in existing})


def test_a_plan_says_what_would_change_and_when_each_fires_next(schedule: Command, platform: MemoryPlatform) -> None:
    put(platform, stand("7", "hourly"), stand("6", "weekly-retraining", paused=True))
    code, written, _ = schedule("plan")
    lines = written.splitlines()
    assert code == 0
    assert lines[0] == "create   nightly            30 2 * * * Europe/Berlin: new"
    times = cron.next_times("30 2 * * *", "Europe/Berlin", after=datetime.now(UTC), count=5)
    assert lines[1] == f"    next {times[0]:%a %Y-%m-%d} 02:30{times[0]:%z}"[:-2] + ":00"
    assert [line[9:] for line in lines[1:6]] == [f"{time:%a} {time.isoformat(' ', 'minutes')}" for time in times]
    assert lines[6].startswith("replace  weekly-retraining  0 6 * * 1 UTC: changed: cron 0 7 * * 1 -> 0 6 * * 1, param")
    assert lines[7].startswith("(paused) Mon ")
    assert lines[7].endswith(" 06:00+00:00")
    assert lines[12] == "orphan   hourly             0 7 * * 1 UTC (7): in no file; stays until apply --prune"
    assert lines[13:] == ["2 to change, by: mnist schedule apply --on prod"]
    assert platform.log == []


def test_a_plan_tells_a_script_by_its_exit_code_whether_something_would_change(schedule: Command) -> None:
    assert schedule("plan", "--check")[0] == 2
    assert schedule("apply")[0] == 0
    code, written, _ = schedule("plan", "--check")
    assert code == 0
    assert written.splitlines()[-1] == "Nothing to change."


def test_an_end_is_said_where_it_comes_before_the_fifth_time(schedule: Command) -> None:
    text = FILE.replace('cron = "0 6 * * MON"', 'cron = "0 6 1 1 *"\nend = 2028-01-02T00:00:00')
    Path("mnist.toml").write_text(
        text + '[[prod.schedules]]\nname = "past"\ncron = "0 6 * * *"\nend = 2026-01-01T00:00:00'
    )
    _, written, _ = schedule("plan")
    lines = written.splitlines()
    assert lines[-6:] == [
        *lines[-6:-4],
        "         then no more: its end is Sun 2028-01-02 00:00+00:00",
        "over     past               0 6 * * * UTC: its last time has passed, nothing to do",
        "         never again: its end is Thu 2026-01-01 00:00+00:00",
        "2 to change, by: mnist schedule apply --on prod",
    ]


def test_apply_makes_it_so_and_does_nothing_the_second_time(schedule: Command, platform: MemoryPlatform) -> None:
    put(platform, stand("7", "hourly"), stand("6", "weekly-retraining", paused=True))
    code, written, _ = schedule("apply", "--prune")
    assert code == 0
    assert written.splitlines() == [
        "created  nightly            30 2 * * * Europe/Berlin: new",
        "replaced weekly-retraining  0 6 * * 1 UTC: changed: cron 0 7 * * 1 -> 0 6 * * 1, parameters, pipeline or "
        "images, profile or max_concurrency",
        "removed  hourly             0 7 * * 1 UTC (7): in no file",
    ]
    assert sorted((each.title, each.paused) for each in platform.existing.values()) == [
        ("nightly", False),
        ("weekly-retraining", True),
    ]
    [weekly] = [job for id, job in platform.jobs.items() if platform.existing[id].title == "weekly-retraining"]
    assert weekly.parameters["epochs"] == 10
    assert f"@sha256:{DIGEST}" in str(weekly.documents)
    log = list(platform.log)
    code, written, _ = schedule("apply", "--prune")
    assert code == 0
    assert written.splitlines() == [
        "kept     nightly            30 2 * * * Europe/Berlin: unchanged",
        "kept     weekly-retraining  0 6 * * 1 UTC: unchanged, paused",
        "Nothing to change.",
    ]
    assert platform.log == log


def test_other_images_replace_every_schedule(
    schedule: Command, platform: MemoryPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule("apply")
    monkeypatch.setattr(
        container_images,
        "remote_references",
        lambda lock: {key: value.replace("3f", "5a") for key, value in pushed(lock).items()},
    )
    _, written, _ = schedule("apply")
    assert written.splitlines() == [
        "replaced nightly            30 2 * * * Europe/Berlin: changed: pipeline or images",
        "replaced weekly-retraining  0 6 * * 1 UTC: changed: pipeline or images",
    ]
    assert len(platform.existing) == 2


def test_what_failed_is_said_at_the_end_and_the_rest_is_done(schedule: Command, platform: MemoryPlatform) -> None:
    platform.faults = {0: refuse}
    code, written, complained = schedule("apply")
    assert code == 1
    assert written.splitlines() == ["created  weekly-retraining  0 6 * * 1 UTC: new"]
    assert complained.splitlines() == [
        "create nightly: The platform refuses.",
        "1 not done. Once that is mended: mnist schedule apply --on prod",
    ]


def test_an_interrupted_apply_says_how_to_finish_it(schedule: Command, platform: MemoryPlatform) -> None:
    put(platform, stand("6", "weekly-retraining"))
    platform.faults = {1: interrupt_after}
    code, _, complained = schedule("apply", "--prune")
    assert code == 130
    assert complained.endswith("also of a schedule half replaced, is done by: mnist schedule apply --on prod --prune\n")
    assert complained.count("\n") == 1
    assert len(platform.existing) == 3
    _, written, _ = schedule("apply", "--prune")
    assert written.splitlines()[-1] == (
        "removed  weekly-retraining  0 7 * * 1 UTC (6): replaced already, left over from an apply that was interrupted"
    )
    assert len(platform.existing) == 2


def test_nothing_is_changed_when_one_schedule_is_wrong(schedule: Command, platform: MemoryPlatform) -> None:
    Path("mnist.toml").write_text(FILE.replace("epochs = 10", "epochs = 0"))
    put(platform, stand("6", "weekly-retraining"))
    code, written, complained = schedule("apply")
    assert (code, written) == (1, "")
    assert complained == "[prod] schedule weekly-retraining: epochs=0: expected 1 to 1000."
    assert platform.log == []


def test_a_list_shows_those_of_others_apart_and_harmless(schedule: Command, platform: MemoryPlatform) -> None:
    others = [
        replace(stand("9", "some[bold]one's\x1b[2J", owner=None), cron="@every 1h"),
        stand("8", "nightly", owner="dev"),
    ]
    put(platform, *others, stand("6", "weekly-retraining", paused=True), stand("5", "old", ended=True))
    _, written, _ = schedule("list")
    assert written.splitlines() == [
        "ended    old                0 7 * * 1 UTC, since 2026-01-01 (5)",
        "paused   weekly-retraining  0 7 * * 1 UTC, since 2026-01-01 (6)",
        "Of others, never touched:",
        "active   nightly              0 7 * * 1 UTC, since 2026-01-01 (8, profile dev)",
        "active   some[bold]one's?[2J  @every 1h UTC, since 2026-01-01 (9)",
    ]


def test_a_list_says_that_there_is_none(schedule: Command) -> None:
    assert schedule("list") == (0, "None of profile prod.\n", "")


def test_a_schedule_is_paused_and_resumed_by_its_name(schedule: Command, platform: MemoryPlatform) -> None:
    schedule("apply")
    [nightly] = [each.id for each in platform.existing.values() if each.title == "nightly"]
    assert schedule("pause", "nightly") == (0, "paused   nightly\n", "")
    assert platform.existing[nightly].paused
    # The file leaves it open, so that apply leaves it alone.
    assert schedule("apply")[1].splitlines()[0].endswith("unchanged, paused")
    assert schedule("resume", nightly) == (0, "resumed  nightly\n", "")
    assert not platform.existing[nightly].paused


def test_a_pause_that_the_next_apply_would_end_says_so(schedule: Command, platform: MemoryPlatform) -> None:
    Path("mnist.toml").write_text(FILE.replace("30 2 * * *", '30 2 * * *"\npaused = false\n#"'))
    schedule("apply")
    assert schedule("pause", "nightly")[1].splitlines() == [
        "paused   nightly",
        "The file says paused = false: the next apply resumes it.",
    ]
    assert schedule("apply")[1].splitlines()[0] == (
        "resumed  nightly            30 2 * * * Europe/Berlin: the file says paused = false"
    )
    Path("mnist.toml").write_text(FILE.replace("30 2 * * *", '30 2 * * *"\npaused = true\n#"'))
    schedule("apply")
    assert schedule("resume", "nightly")[1].splitlines()[1] == "The file says paused = true: the next apply pauses it."


def test_a_run_now_prints_where_to_look_and_how_to_follow(schedule: Command, platform: MemoryPlatform) -> None:
    put(platform, stand("6", "weekly-retraining"))
    code, written, _ = schedule("run-now", "weekly-retraining")
    [run] = platform.runs
    assert code == 0
    assert run.startswith("weekly-retraining-20")
    assert platform.runs == {run: "6"}
    assert written.splitlines() == [
        f"run   {run}",
        f"page  https://platform.example.com/runs/{run}",
        f"follow it: mnist follow {run} --on prod",
    ]


def test_a_deleted_schedule_that_is_in_the_file_comes_back_and_that_is_said(
    schedule: Command, platform: MemoryPlatform
) -> None:
    put(platform, stand("6", "weekly-retraining"), stand("5", "old"))
    assert schedule("delete", "weekly-retraining")[1].splitlines() == [
        "removed  weekly-retraining",
        "It is still in mnist.toml: the next apply makes it again.",
    ]
    assert schedule("delete", "old")[1].splitlines() == ["removed  old"]
    assert platform.existing == {}
    code, written, _ = schedule("delete", "weekly-retraining")
    assert code == 0
    assert written.startswith("weekly-retraining: none stands on the platform, nothing to remove.")


def test_one_that_stands_twice_is_paused_and_deleted_whole_but_not_resumed(
    schedule: Command, platform: MemoryPlatform
) -> None:
    put(platform, stand("6", "weekly-retraining"), stand("5", "weekly-retraining"))
    assert schedule("pause", "weekly-retraining")[1].splitlines() == ["paused   weekly-retraining"] * 2
    for verb in ("resume", "run-now"):
        code, _, complained = schedule(verb, "weekly-retraining")
        assert code == 1
        assert complained == (
            "weekly-retraining: stands 2 times (6, 5), as an interrupted apply leaves it. Finish it: mnist schedule "
            "apply --on prod"
        )
    assert schedule("delete", "weekly-retraining")[0] == 0
    assert platform.existing == {}


def test_an_ended_schedule_is_not_resumed_and_need_not_be_paused(schedule: Command, platform: MemoryPlatform) -> None:
    put(platform, stand("6", "weekly-retraining", ended=True))
    code, _, complained = schedule("resume", "weekly-retraining")
    assert code == 1
    assert complained == (
        "weekly-retraining: has ended and will not fire again. Change its end in mnist.toml, then: "
        "mnist schedule apply --on prod"
    )
    assert schedule("pause", "weekly-retraining")[1] == "ended    weekly-retraining: fires nothing any more\n"
    assert platform.log == []


@pytest.mark.parametrize("verb", ["pause", "resume", "run-now", "delete"])
def test_schedules_of_others_are_refused(schedule: Command, platform: MemoryPlatform, verb: str) -> None:
    others = [stand("9", "by-hand", owner=None), stand("8", "theirs", owner="dev"), stand("7", "nightly")]
    put(platform, *others)
    for name, message in [
        ("by-hand", "by-hand: is not made by this command, so [prod] does not touch it."),
        ("8", "8: is of profile dev, so [prod] does not touch it."),
        ("nihgtly", "no such schedule of [prod] stands on the platform; did you mean nightly?"),
    ]:
        code, written, complained = schedule(verb, name)
        assert (code, written) == (1, "")
        assert message in complained
    assert platform.log == []
    assert platform.runs == {}
    assert list(platform.existing.values()) == others


def test_an_unknown_profile_is_refused_before_anything_is_asked(
    schedule: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(profile: Profile) -> MemoryPlatform:
        raise AssertionError(f"asked for {profile.name}")

    monkeypatch.setattr(schedule_command, "connect", connect)
    code, _, complained = schedule("plan", on="prd")
    assert code == 1
    assert complained.startswith("--on prd: ")
    assert complained.endswith("no such profile in mnist.toml; did you mean prod?")
