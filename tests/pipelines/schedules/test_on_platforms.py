"""`mnist schedule` over both platforms' protocols, judged by what the servers have in the end."""

import itertools
import re
import signal
import tomllib
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from pipelines import container_images
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.project import Project
from tests.fakes.schedule_command import ScheduleCommand
from tests.fakes.schedules import BY_HAND, LOST, OFTEN, PERMANENT, TRANSIENT, OnKubeflow, OnVertex, Played
from tests.fakes.vertex.server import VertexServer

SCHEDULES = """
[[there.schedules]]
name = "nightly"
cron = "30 2 * * *"
[[there.schedules]]
name = "weekly"
cron = "0 6 * * MON-WED,7"
parameters = { epochs = 10 }
"""
CHANGED = SCHEDULES.replace("30 2", "45 2")
NIGHTLY_ONLY = SCHEDULES[: SCHEDULES.index("[[there.schedules]]", 5)]


class Command(ScheduleCommand):
    """`mnist schedule ... --on there` in a folder of its own."""

    def __init__(self, platform: Played, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch, on="there")
        self._table = platform.table
        self.write(SCHEDULES)

    def write(self, schedules: str) -> None:
        """Change the desired schedules in mnist.toml."""
        Path("mnist.toml").write_text(self._table + schedules, encoding="utf-8")


@pytest.fixture
def vertex(vertex_server: VertexServer) -> OnVertex:
    return OnVertex(vertex_server)


@pytest.fixture
def kubeflow(kubeflow_server: KubeflowServer, monkeypatch: pytest.MonkeyPatch) -> OnKubeflow:
    from pipelines.platforms.kubeflow import schedules

    platform = OnKubeflow(kubeflow_server)

    class Clock(datetime):
        """This machine's clock, as far forward as the platform's."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return platform.now().astimezone(tz)

    monkeypatch.setattr(schedules, "datetime", Clock)
    return platform


@pytest.fixture(params=["vertex", "kubeflow"])
def platform(request: pytest.FixtureRequest) -> Played:
    return request.getfixturevalue(request.param)


@pytest.fixture
def schedule(platform: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(platform, monkeypatch)


def ids(platform: Played) -> dict[str, str]:
    """The one schedule of each name."""
    own = platform.own()
    assert len({each.name for each in own}) == len(own)
    return {each.name: each.id for each in own}


def test_schedules_are_created_kept_replaced_and_pruned_and_those_of_others_never_touched(
    schedule: Command, platform: Played
) -> None:
    assert schedule("plan")[1][0] == "create   nightly  30 2 * * * UTC: new"
    assert platform.own() == []
    code, lines, _ = schedule("apply")
    assert code == 0
    assert [line.split()[:2] for line in lines] == [["created", "nightly"], ["created", "weekly"]]
    nightly, weekly = platform.own()
    assert (nightly.name, nightly.paused) == ("nightly", False)
    assert "30 2 * * *" in nightly.times
    assert "0 6 * * 0-3" in weekly.times
    assert (nightly.parameters["epochs"], weekly.parameters["epochs"]) == (5, 10)
    platform.make_by_hand()
    others = platform.others()
    first = ids(platform)

    code, lines, _ = schedule("apply", "--prune")
    assert (code, lines[-1]) == (0, "Nothing to change.")
    assert ids(platform) == first

    schedule.write(CHANGED)
    code, lines, _ = schedule("apply")
    assert code == 0
    assert lines[0] == "replaced nightly  45 2 * * * UTC: changed: cron 30 2 * * * -> 45 2 * * *"
    assert lines[1].endswith("unchanged")
    second = ids(platform)
    assert second["nightly"] != first["nightly"]
    assert second["weekly"] == first["weekly"]

    schedule.write(NIGHTLY_ONLY.replace("30 2", "45 2"))
    assert schedule("apply")[1][1].startswith("orphan   weekly ")
    assert ids(platform) == second
    assert schedule("apply", "--prune")[1][1].startswith("removed  weekly ")
    assert ids(platform) == {"nightly": second["nightly"]}
    assert platform.others() == others
    listed = schedule("list")[1]
    assert listed[0].startswith(f"active   nightly  45 2 * * * UTC, since {datetime.now(UTC):%Y-}")
    assert listed[1] == "Created by others, never changed:"
    assert listed[2].startswith(f"active   {BY_HAND}  30 2 * * * UTC, since ")
    assert "profile" not in listed[2]


def test_what_the_plan_shows_is_what_fires(schedule: Command, platform: Played) -> None:
    schedule.write(NIGHTLY_ONLY.replace("30 2 * * *", "30 2,14 1-20/3 * MON"))
    schedule("apply")
    shown = [datetime.fromisoformat(line[-22:]) for line in schedule("plan")[1][1:6]]
    assert len(shown) == 5
    for moment in shown:
        assert platform.pass_time(moment - platform.now() - timedelta(seconds=5)) == 0
        assert platform.pass_time(timedelta(seconds=10)) == 1


def test_a_paused_schedule_fires_nothing_and_makes_up_for_nothing(schedule: Command, platform: Played) -> None:
    schedule.write(NIGHTLY_ONLY)
    schedule("apply")
    assert platform.pass_time(timedelta(days=1)) == 1
    assert schedule("pause", "nightly")[:2] == (0, ["paused   nightly"])
    assert [each.paused for each in platform.own()] == [True]
    assert platform.pass_time(timedelta(days=3)) == 0
    assert schedule("apply")[1][0].endswith("unchanged, paused")
    assert schedule("resume", "nightly")[:2] == (0, ["resumed  nightly"])
    assert [each.paused for each in platform.own()] == [False]
    assert platform.pass_time(timedelta(seconds=1)) == 0
    assert platform.pass_time(timedelta(days=1)) == 1


def test_the_file_decides_on_pausing_where_it_says_so_and_a_replaced_one_stays_paused(
    schedule: Command, platform: Played
) -> None:
    schedule.write(NIGHTLY_ONLY + "paused = true\n")
    assert schedule("apply")[0] == 0
    [made] = platform.own()
    assert made.paused
    schedule.write(NIGHTLY_ONLY.replace("30 2", "45 2"))
    assert schedule("apply")[0] == 0
    [replaced] = platform.own()
    assert replaced.paused
    assert replaced.id != made.id
    schedule.write(NIGHTLY_ONLY.replace("30 2", "45 2") + "paused = false\n")
    assert schedule("apply")[1][0].startswith("resumed  nightly ")
    assert [each.paused for each in platform.own()] == [False]


def test_run_now_starts_what_the_schedule_would_start(schedule: Command, platform: Played) -> None:
    schedule("apply")
    code, lines, _ = schedule("run-now", "weekly")
    assert code == 0
    [(run, parameters)] = platform.runs().items()
    assert parameters["epochs"] == 10
    assert lines[0] == f"run   {run}"
    assert re.fullmatch(rf"page  https?://\S*{run}\S*", lines[1])


def test_a_deleted_schedule_is_gone_and_the_next_apply_creates_it_again(schedule: Command, platform: Played) -> None:
    schedule("apply")
    assert schedule("delete", "weekly")[1] == [
        "removed  weekly",
        "It is still in mnist.toml: the next apply creates it again.",
    ]
    assert list(ids(platform)) == ["nightly"]
    schedule("apply")
    assert sorted(ids(platform)) == ["nightly", "weekly"]


def test_the_new_schedule_exists_before_the_old_one_is_removed(schedule: Command, platform: Played) -> None:
    schedule.write(NIGHTLY_ONLY)
    schedule("apply")
    schedule.write(CHANGED)
    platform.fail("delete", "denied", times=OFTEN)
    code, lines, complained = schedule("apply")
    assert code == 1
    assert lines == ["created  weekly   0 6 * * 0-3 UTC: new"]
    assert complained.splitlines()[0].startswith("replace nightly: ")
    assert sorted(each.name for each in platform.own()) == ["nightly", "nightly", "weekly"]
    platform.heal()
    assert schedule("apply")[1][1].endswith("already replaced, left over from an interrupted apply")
    assert sorted(ids(platform)) == ["nightly", "weekly"]
    assert any("45 2 * * *" in each.times for each in platform.own())


def test_the_old_schedule_is_kept_while_no_new_one_can_be_created(schedule: Command, platform: Played) -> None:
    schedule("apply")
    before = ids(platform)
    schedule.write(CHANGED)
    platform.fail("create", "denied", times=OFTEN)
    assert schedule("apply")[0] == 1
    assert ids(platform) == before


def test_an_answer_lost_after_a_create_leaves_one_schedule(schedule: Command, platform: Played) -> None:
    platform.fail("create", "cut afterwards")
    code, lines, _ = schedule("apply")
    assert code == 0
    assert [line.split()[0] for line in lines] == ["created", "created"]
    before = ids(platform)
    assert sorted(before) == ["nightly", "weekly"]
    assert schedule("apply")[1][-1] == "Nothing to change."
    assert ids(platform) == before


SWITCH = NIGHTLY_ONLY.replace("nightly", "{name}") + "paused = {paused}\n"
# From either to the other, one schedule is replaced, created or removed, paused, and resumed.
ONE = NIGHTLY_ONLY + SWITCH.format(name="left", paused="true") + SWITCH.format(name="right", paused="false")
OTHER = CHANGED + SWITCH.format(name="left", paused="false") + SWITCH.format(name="right", paused="true")


@pytest.mark.parametrize("call", ["list", "create", "pause", "resume", "delete"])
def test_whatever_goes_wrong_at_a_call_the_end_is_right(schedule: Command, platform: Played, call: str) -> None:
    schedule.write(ONE)
    assert schedule("apply")[0] == 0
    kinds = TRANSIENT + PERMANENT + (LOST if call != "list" else ())
    for kind, desired in zip(kinds, itertools.cycle([OTHER, ONE]), strict=False):
        schedule.write(desired)
        platform.fail(call, kind)
        code, _, complained = schedule("apply", "--prune")
        has_failed = kind in PERMANENT and not (call == "delete" and kind == "missing")
        assert (code, bool(complained)) == (int(has_failed), has_failed), f"{kind}: {complained}"
        platform.heal()
        if has_failed or kind == "missing":
            assert schedule("apply", "--prune")[0] == 0, kind
        settled = platform.own()
        assert sorted(each.name for each in settled) == sorted(re.findall(r'name = "(\w+)"', desired)), kind
        assert {each.name for each in settled if each.paused} == {"left" if desired == ONE else "right"}, kind
        times = next(each.times for each in settled if each.name == "nightly")
        assert ("30 2" if desired == ONE else "45 2") in times, kind
    assert schedule("apply", "--prune")[1][-1] == "Nothing to change."
    assert platform.own() == settled


def test_ctrl_c_between_create_and_delete_says_how_to_finish_and_that_finishes_it(
    schedule: Command, project: Project, platform: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The images of the other process, so that this one desires the same schedule.
    images = tomllib.loads((project.folder / container_images.LOCK_FILE).read_text(encoding="utf-8"))["images"]
    monkeypatch.setattr(container_images, "remote_references", lambda _lock: images)
    schedule.write(NIGHTLY_ONLY)
    assert schedule("apply")[:2] == (0, ["created  nightly  30 2 * * * UTC: new"])
    schedule.write(NIGHTLY_ONLY.replace("30 2", "45 2"))
    is_deleting = platform.fall_silent("delete")
    words = ("schedule", "apply", "--on", "there")
    process = project.start(*words, folder=Path.cwd(), environment=platform.environment)
    assert is_deleting.wait(300)
    assert len(platform.own()) == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "Interrupted. Changes made so far stay. To finish, including a half-replaced schedule: mnist schedule apply "
        "--on there\n"
    )
    assert len(platform.own()) == 2
    platform.heal()
    code, lines, _ = schedule("apply")
    assert (code, lines[0]) == (0, "kept     nightly  45 2 * * * UTC: unchanged")
    assert lines[1].endswith("already replaced, left over from an interrupted apply")
    [left] = platform.own()
    assert "45 2 * * *" in left.times
