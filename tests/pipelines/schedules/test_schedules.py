from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mnist.errors import SettingError
from components.mnist.settings import Value
from pipelines.compilation import Job
from pipelines.platforms.base import Existing, Mark
from pipelines.platforms.kubeflow.credentials import TokenSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile, StorageSecret, Toleration
from pipelines.platforms.vertex.profile import VertexProfile
from pipelines.profiles import Profile, Resources, Schedule
from pipelines.schedules.apply import apply_changes, prepare_schedules
from pipelines.schedules.fingerprints import PARTS, find_changes, fingerprint
from pipelines.schedules.lookup import find_schedule, find_schedules
from pipelines.schedules.plan import Change, Desired, Kind, plan_changes
from tests.fakes.memory_platform import FAULTS, MemoryPlatform, interrupt_after, interrupt_within, lose_answer, refuse

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSED = datetime(2026, 11, 1, tzinfo=UTC)
ENGINE = "3f" * 32


def profile(*listed: Schedule, **keys: Any) -> VertexProfile:
    defaults = {"name": "prod", "platform": "vertex", "project": "project-1", "region": "europe-west4"}
    return VertexProfile(**{**defaults, "pipeline_root": "gs://bucket/root", "schedules": listed, **keys})


def schedule(name: str = "nightly", cron: str = "0 2 * * *", **keys: Any) -> Schedule:
    return Schedule(name=name, cron=cron, **keys)


def build(_profile: Profile, given: Mapping[str, Value]) -> Job:
    if "epochz" in given:
        raise SettingError("epochz: no such parameter; did you mean epochs?")
    return Job(({"pipelineInfo": {"name": "mnist-training"}, "image": ENGINE},), {"epochs": 5, **given})


def check(given: Schedule) -> None:
    if given.time_zone == "Asia/Tokyo":
        raise SettingError("time_zone Asia/Tokyo: the cluster has UTC only.")


def prepare(*listed: Schedule) -> list[Desired]:
    return prepare_schedules(profile(*listed), build=build, check=check, now=NOW)


def existing_one(
    desired: Desired | str, id: str = "1", *, days: int = 1, owner: str | None = "prod", **changes: Any
) -> Existing:
    """A schedule on the platform: of this content, or of another when only a name is given."""
    name, content = (desired, "0" * 32) if isinstance(desired, str) else (desired.schedule.name, desired.content)
    content = changes.pop("content", content)
    mark = Mark(owner, name, content) if owner else None
    usual = Existing(id, name, mark, "0 2 * * *", "UTC", False, False, NOW - timedelta(days=days))
    return replace(usual, **changes)


def plan(desired: list[Desired], *existing: Existing, prune: bool = False) -> list[Change]:
    return plan_changes("prod", desired, existing, prune=prune)


def on_platform(*existing: Existing) -> MemoryPlatform:
    return MemoryPlatform({each.id: each for each in existing})


def apply(platform: MemoryPlatform, desired: list[Desired], *, prune: bool = False) -> list[str]:
    """Plan and apply; returns what failed."""
    changes = plan(desired, *platform.list_schedules(), prune=prune)
    failures = apply_changes(platform, changes, profile="prod", show=lambda change: None)
    return [f"{change.name}: {error}" for change, error in failures]


def state(platform: MemoryPlatform) -> list[tuple[Mark | None, bool, bool]]:
    return sorted(((each.mark, each.paused, each.ended) for each in platform.existing.values()), key=repr)


def test_a_schedule_that_does_not_exist_is_created() -> None:
    [desired] = prepare(schedule())
    [change] = plan([desired])
    assert (change.kind, change.reason, change.paused) == (Kind.CREATE, "new", False)
    platform = on_platform()
    assert apply(platform, [desired]) == []
    [made] = platform.existing.values()
    assert made.mark == Mark("prod", "nightly", desired.content)
    assert platform.jobs[made.id] == desired.job


def test_another_spelling_of_the_same_times_changes_nothing() -> None:
    [desired] = prepare(schedule(cron="0 2 * * 1-5", start=datetime(2026, 11, 1, 1, 0), time_zone="Europe/Berlin"))
    same = schedule(cron="0 2 * *  MON-FRI", start=datetime(2026, 11, 1, 0, 0, tzinfo=UTC), time_zone="Europe/Berlin")
    [change] = plan(prepare(same), existing_one(desired))
    assert (change.kind, change.reason) == (Kind.KEEP, "unchanged")


@pytest.mark.parametrize(
    ("then", "now", "reason"),
    [
        ({"cron": "0 3 * * *"}, {}, "changed: cron 0 3 * * * -> 0 2 * * *"),
        ({}, {"time_zone": "Europe/Berlin"}, "changed: time_zone UTC -> Europe/Berlin"),
        ({}, {"start": datetime(2026, 12, 1)}, "changed: start or end"),
        ({}, {"end": datetime(2027, 12, 1)}, "changed: start or end"),
        ({}, {"parameters": {"epochs": 7}}, "changed: parameters"),
        ({}, {"max_concurrency": 2}, "changed: profile or max_concurrency"),
        ({"cron": "1 2 * * *"}, {"parameters": {"seed": 1}}, "changed: cron 1 2 * * * -> 0 2 * * *, parameters"),
    ],
)
def test_a_changed_schedule_is_replaced_and_the_plan_says_what_changed(
    then: dict[str, Any], now: dict[str, Any], reason: str
) -> None:
    [old], [desired] = prepare(schedule(**then)), prepare(schedule(**now))
    [change] = plan([desired], existing_one(old, cron=old.schedule.cron))
    assert (change.kind, change.reason) == (Kind.REPLACE, reason)
    platform = on_platform(existing_one(old))
    assert apply(platform, [desired]) == []
    assert platform.log == [("create", "nightly"), ("delete", "nightly")]
    assert [each.mark for each in platform.existing.values()] == [Mark("prod", "nightly", desired.content)]


@pytest.mark.parametrize(
    ("on_platform_as", "reason"),
    [("Etc/UTC", "changed: start or end"), ("Mars/Olympus", "changed: time_zone Mars/Olympus -> UTC")],
)
def test_another_name_for_the_same_time_zone_is_not_called_a_change(on_platform_as: str, reason: str) -> None:
    [old], [desired] = prepare(schedule()), prepare(schedule(end=datetime(2027, 12, 1)))
    [change] = plan([desired], existing_one(old, time_zone=on_platform_as))
    assert change.reason == reason


def test_another_pipeline_or_profile_replaces_every_schedule() -> None:
    [desired] = prepare(schedule())
    other_image = Job(({"pipelineInfo": {"name": "mnist-training"}, "image": "5a" * 32},), desired.job.parameters)
    content = fingerprint(desired.schedule, other_image, profile())
    [change] = plan([desired], existing_one(desired, content=content))
    assert (change.kind, change.reason) == (Kind.REPLACE, "changed: pipeline or images")
    content = fingerprint(desired.schedule, desired.job, profile(service_account="other@project-1.example.com"))
    [change] = plan([desired], existing_one(desired, content=content))
    assert (change.kind, change.reason) == (Kind.REPLACE, "changed: profile or max_concurrency")
    [change] = plan([desired], existing_one(desired, content="abc"))
    assert change.reason == "changed: start or end, parameters, pipeline or images, profile or max_concurrency"


@pytest.mark.parametrize(
    ("in_file", "is_paused", "kind", "paused"),
    [
        (None, False, Kind.KEEP, False),
        (None, True, Kind.KEEP, True),
        (True, True, Kind.KEEP, True),
        (False, False, Kind.KEEP, False),
        (True, False, Kind.PAUSE, True),
        (False, True, Kind.RESUME, False),
    ],
)
def test_paused_is_enforced_where_the_file_says_it_and_left_alone_elsewhere(
    in_file: bool | None, is_paused: bool, kind: Kind, paused: bool
) -> None:
    [desired] = prepare(schedule(paused=in_file))
    [change] = plan([desired], existing_one(desired, paused=is_paused))
    assert (change.kind, change.paused) == (kind, paused)
    platform = on_platform(existing_one(desired, paused=is_paused))
    assert apply(platform, [desired]) == []
    assert [each.paused for each in platform.existing.values()] == [paused]
    assert list(platform.existing) == ["1"]


@pytest.mark.parametrize(
    ("in_file", "old_paused", "paused"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_a_replaced_schedule_stays_paused_unless_the_file_says_otherwise(
    in_file: bool | None, old_paused: bool, paused: bool
) -> None:
    desired = prepare(schedule(paused=in_file))
    platform = on_platform(existing_one("nightly", paused=old_paused))
    assert apply(platform, desired) == []
    assert [each.paused for each in platform.existing.values()] == [paused]


def test_the_replacement_of_an_ended_schedule_is_active() -> None:
    platform = on_platform(existing_one("nightly", paused=True, ended=True))
    assert apply(platform, prepare(schedule())) == []
    assert [(each.paused, each.ended) for each in platform.existing.values()] == [(False, False)]


def test_of_two_with_the_same_content_the_oldest_active_one_stays() -> None:
    [desired] = prepare(schedule())
    three = [
        existing_one(desired, "1", days=9, paused=True),
        existing_one(desired, "2", days=5),
        existing_one(desired, "3", days=2),
    ]
    keep, *removed = plan([desired], *three)
    assert keep.kind is Kind.KEEP
    assert keep.existing == three[1]
    assert {change.old[0].id for change in removed} == {"1", "3"}
    assert all(change.reason == "a duplicate with the same content" for change in removed)
    platform = on_platform(*three)
    assert apply(platform, [desired]) == []
    assert list(platform.existing) == ["2"]


def test_a_schedule_that_left_the_file_is_reported_and_removed_only_when_pruned() -> None:
    platform = on_platform(existing_one("old"))
    [change] = plan([], *platform.list_schedules())
    assert (change.kind, change.reason) == (Kind.ORPHAN, "not in the file; kept until apply --prune")
    assert apply(platform, []) == []
    assert platform.log == []
    assert apply(platform, [], prune=True) == []
    assert platform.existing == {}


def test_schedules_of_others_are_never_touched() -> None:
    desired = prepare(schedule())
    others = [
        existing_one("nightly", "1", owner=None),
        existing_one("nightly", "2", owner="dev"),
        existing_one(desired[0], "3", owner="dev"),
    ]
    platform = on_platform(*others)
    assert apply(platform, desired, prune=True) == []
    assert [platform.existing[id] for id in ("1", "2", "3")] == others
    assert platform.log == [("create", "nightly")]


def test_an_ended_schedule_with_the_same_content_is_kept_and_reported() -> None:
    [desired] = prepare(schedule())
    [change] = plan([desired], existing_one(desired, ended=True))
    assert change.kind is Kind.KEEP
    assert change.reason == (
        "unchanged, has ended on the platform; to start it again: mnist schedule delete nightly, then apply"
    )
    [over] = prepare(schedule(end=PASSED, paused=True))
    [change] = plan([over], existing_one(over, ended=True))
    assert (change.kind, change.reason) == (Kind.KEEP, "unchanged, has ended")


def test_a_schedule_whose_end_has_passed_is_not_created_and_its_predecessor_is_removed() -> None:
    [over] = prepare(schedule(end=PASSED))
    [change] = plan([over])
    assert (change.kind, change.reason) == (Kind.OVER, "its last time has passed, nothing to do")
    platform = on_platform(existing_one("nightly", "1"), existing_one("nightly", "2", ended=True))
    assert apply(platform, [over]) == []
    assert list(platform.existing) == ["2"]


def test_everything_is_checked_before_anything_is_changed() -> None:
    listed = [
        schedule("good"),
        schedule("six", cron="0 0 2 * * *"),
        schedule("zone", time_zone="Europe/Berln"),
        schedule("tokyo", time_zone="Asia/Tokyo"),
        schedule("typo", parameters={"epochz": 3}),
        schedule("window", start=datetime(2026, 12, 2), end=datetime(2026, 12, 1)),
        schedule("never", cron="0 0 1 1 *", start=datetime(2026, 12, 1), end=datetime(2026, 12, 31)),
    ]
    with pytest.raises(SettingError) as caught:
        prepare(*listed)
    message = str(caught.value)
    assert message.startswith("[prod] schedule six: cron 0 0 2 * * *: expected five fields")
    assert "schedule zone: time_zone Europe/Berln: no such time zone; did you mean Europe/Berlin?" in message
    assert "schedule tokyo: time_zone Asia/Tokyo: the cluster has UTC only." in message
    assert "schedule typo: epochz: no such parameter; did you mean epochs?" in message
    assert "schedule window: cron 0 2 * * * UTC never fires after start = 2026-12-02 00:00:00 and up to" in message
    assert "schedule never: cron 0 0 1 1 * UTC never fires after start" in message
    assert "good" not in message
    assert "\n" not in message


def test_a_failure_of_one_schedule_does_not_stop_the_others() -> None:
    desired = prepare(schedule("first"), schedule("second"), schedule("third"))
    platform = on_platform()
    platform.faults = {0: refuse, 2: refuse}
    assert apply(platform, desired) == ["first: The platform refuses.", "third: The platform refuses."]
    assert platform.log == [("create", "second")]
    assert apply(platform, desired) == []
    assert platform.log == [("create", "second"), ("create", "first"), ("create", "third")]


def test_the_old_schedule_is_kept_when_the_new_one_cannot_be_created() -> None:
    platform = on_platform(existing_one("nightly"))
    platform.faults = {0: refuse}
    assert apply(platform, prepare(schedule())) == ["nightly: The platform refuses."]
    assert list(platform.existing) == ["1"]


def test_an_apply_interrupted_between_create_and_delete_is_finished_by_the_next() -> None:
    [desired] = prepare(schedule())
    platform = on_platform(existing_one("nightly"))
    platform.faults = {0: interrupt_after}
    with pytest.raises(KeyboardInterrupt):
        apply(platform, [desired])
    assert len(platform.existing) == 2
    keep, remove = plan([desired], *platform.list_schedules())
    assert (keep.kind, keep.reason) == (Kind.KEEP, "unchanged")
    assert (remove.kind, remove.reason) == (
        Kind.REMOVE,
        "already replaced, left over from an interrupted apply",
    )
    assert apply(platform, [desired]) == []
    assert state(platform) == [(Mark("prod", "nightly", desired.content), False, False)]


def test_an_apply_interrupted_before_the_new_one_was_paused_is_finished_by_the_next() -> None:
    [desired] = prepare(schedule())
    platform = on_platform(existing_one("nightly", paused=True))
    platform.faults = {0: interrupt_within}
    with pytest.raises(KeyboardInterrupt):
        apply(platform, [desired])
    [change] = plan([desired], *platform.list_schedules())
    assert change.kind is Kind.PAUSE
    assert change.reason == "paused like the schedule that it replaces, left over from an interrupted apply"
    # The old schedule says that the new one has to be paused: it goes last, and not at all when pausing fails.
    platform.faults = {0: refuse}
    assert apply(platform, [desired]) == ["nightly: The platform refuses."]
    assert len(platform.existing) == 2
    assert apply(platform, [desired]) == []
    assert state(platform) == [(Mark("prod", "nightly", desired.content), True, False)]


def test_of_several_old_ones_the_original_is_removed_last() -> None:
    [desired] = prepare(schedule())
    platform = on_platform(existing_one("nightly", "1", days=9), existing_one("nightly", "2", days=2, paused=True))
    platform.faults = {1: interrupt_after}
    with pytest.raises(KeyboardInterrupt):
        apply(platform, [desired])
    assert apply(platform, [desired]) == []
    assert state(platform) == [(Mark("prod", "nightly", desired.content), False, False)]


def test_an_answer_lost_after_a_create_leaves_one_schedule_in_the_end() -> None:
    [desired] = prepare(schedule())
    platform = on_platform(existing_one("nightly"))
    platform.faults = {0: lose_answer}
    assert apply(platform, [desired]) == ["nightly: The answer was lost."]
    assert apply(platform, [desired]) == []
    assert state(platform) == [(Mark("prod", "nightly", desired.content), False, False)]


NAMES = ("alpha", "beta", "gamma")
in_files = st.lists(
    st.builds(
        schedule,
        st.sampled_from(NAMES),
        st.sampled_from(["0 2 * * *", "0 3 * * MON"]),
        paused=st.sampled_from([None, True, False]),
        end=st.sampled_from([None, None, PASSED]),
    ),
    unique_by=lambda each: each.name,
    max_size=3,
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Desired], list[Existing]]:
    """A file, and any schedules on a platform: of this profile, of others, left by interrupted applies."""
    desired = prepare(*draw(in_files))
    contents = {each.schedule.name: each.content for each in desired}
    existing = []
    for number in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from((*NAMES, "delta")))
        content = draw(st.sampled_from([contents.get(name, "1" * 32), "0" * 32, "f" * 32]))
        owner = draw(st.sampled_from(["prod", "prod", "prod", "dev", None]))
        flags = {"paused": draw(st.booleans()), "ended": draw(st.sampled_from([False, False, True]))}
        existing.append(existing_one(name, str(number), days=number + 1, owner=owner, content=content, **flags))
    return desired, draw(st.permutations(existing))


@given(situations(), st.booleans())
def test_a_second_apply_changes_nothing(situation: tuple[list[Desired], list[Existing]], prune: bool) -> None:
    desired, existing = situation
    platform = on_platform(*existing)
    assert apply(platform, desired, prune=prune) == []
    done = list(platform.log)
    assert apply(platform, desired, prune=prune) == []
    assert platform.log == done
    others = [each for each in existing if each.mark is None or each.mark.profile != "prod"]
    assert [platform.existing[each.id] for each in others] == others
    own = [each for each in platform.existing.values() if each.mark and each.mark.profile == "prod"]
    for each in desired:
        found = [other for other in own if other.mark and other.mark.name == each.schedule.name and not other.ended]
        kept_ended = any(other.mark and other.mark.content == each.content and other.ended for other in own)
        assert [other.mark.content for other in found if other.mark] == [each.content] * len(found)
        assert len(found) <= 1
        assert len(found) == 1 or each.is_over or kept_ended
        if found and each.schedule.paused is not None and not each.is_over:
            assert found[0].paused == each.schedule.paused
    names = {each.schedule.name for each in desired}
    left = {other.mark.name for other in own if other.mark} - names
    assert left == (set() if prune else {e.mark.name for e in existing if e.mark and e.mark.profile == "prod"} - names)


@given(situations(), st.dictionaries(st.integers(0, 6), st.sampled_from(FAULTS), min_size=1))
def test_applies_that_fail_or_are_interrupted_end_in_the_same_state_as_one_that_succeeds(
    situation: tuple[list[Desired], list[Existing]], faults: dict[int, Any]
) -> None:
    desired, existing = situation
    undisturbed, disturbed = on_platform(*existing), on_platform(*existing)
    assert apply(undisturbed, desired, prune=True) == []
    disturbed.faults = dict(faults)
    for _ in range(len(faults) + 1):
        try:
            apply(disturbed, desired, prune=True)
        except KeyboardInterrupt:
            continue
    assert apply(disturbed, desired, prune=True) == []
    assert state(disturbed) == state(undisturbed)


@given(situations())
def test_what_fires_before_and_after_an_apply_fires_throughout(
    situation: tuple[list[Desired], list[Existing]],
) -> None:
    desired, existing = situation
    platform = on_platform(*existing)
    assert apply(platform, desired, prune=True) == []
    moments = [firing(existing), *(firing(each) for each in platform.history)]
    assert all(moments[0] & moments[-1] <= moment for moment in moments)


def firing(existing: Sequence[Existing]) -> set[str]:
    own = [each for each in existing if each.mark and each.mark.profile == "prod"]
    return {each.title for each in own if not each.paused and not each.ended}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nightli", "nightli: [prod] has no such schedule on the platform; did you mean nightly?"),
        ("x", "x: [prod] has no such schedule on the platform; expected one of nightly, weekly."),
        ("theirs", "theirs: belongs to profile dev, so [prod] does not change it."),
        ("by hand", "by hand: was not created by this command, so [prod] does not change it."),
        ("4", "4: was not created by this command, so [prod] does not change it."),
    ],
)
def test_only_schedules_of_the_profile_are_found(name: str, message: str) -> None:
    existing = [
        existing_one("nightly", "1"),
        existing_one("weekly", "2"),
        existing_one("theirs", "3", owner="dev"),
        existing_one("by hand", "4", owner=None),
    ]
    with pytest.raises(SettingError) as caught:
        find_schedules(name, "prod", existing)
    assert message in str(caught.value)


def test_a_schedule_is_found_by_name_and_by_id() -> None:
    existing = [
        existing_one("nightly", "1"),
        existing_one("nightly", "2"),
        existing_one("weekly", "3"),
        existing_one("nightly", "9", owner="dev"),
    ]
    assert find_schedules("nightly", "prod", existing) == existing[:2]
    assert find_schedules("3", "prod", existing) == [existing[2]]
    assert find_schedule("weekly", "prod", existing) == existing[2]
    with pytest.raises(SettingError, match=r"nightly: exists 2 times \(1, 2\), left by an interrupted apply"):
        find_schedule("nightly", "prod", existing)
    with pytest.raises(SettingError, match="it has none"):
        find_schedules("nightly", "other", [])


def test_a_fingerprint_fits_into_a_label_and_shows_which_part_changed() -> None:
    [desired] = prepare(schedule())
    assert len(desired.content) == 32
    assert set(desired.content) <= set("0123456789abcdef")
    assert prepare(schedule()) == [desired]
    assert prepare(schedule("other", paused=True))[0].content == desired.content
    [other] = prepare(schedule(parameters={"epochs": 6}))
    assert find_changes(desired.content, other.content) == ["parameters"]
    assert find_changes("12", other.content) == list(PARTS)


CHANGED: dict[str, Any] = {
    "experiment": "other",
    "service_account": "other@project-1.example.com",
    "accelerator": "NVIDIA_L4",
    "accelerator_count": 2,
    "train_retries": 9,
    "resources": {"train": Resources(cpu="9", memory="9G")},
    "pipeline_root": "gs://bucket/other",
    "network": "projects/1/global/networks/other",
    "encryption_key": "projects/1/locations/l/keyRings/r/cryptoKeys/k",
    "labels": {"team": "other"},
    "machine_type": "g2-standard-8",
    "spot": True,
    "node_selector": {"gpu": "true"},
    "tolerations": (Toleration(operator="Exists"),),
    "pull_secret": "other",
    "storage_secrets": (StorageSecret(name="key", mount="/keys"),),
    "time_to_live_hours": 9,
}
# They say whose schedules these are, where the platform is and how to sign in.
ELSEWHERE: dict[str, Any] = {
    "name": "other",
    "schedules": (schedule("other"),),
    "project": "project-2",
    "region": "europe-west1",
    "endpoint": "localhost:1",
    "host": "https://other.example.com",
    "namespace": "other",
    "sign_in": TokenSignIn(method="token", file="token"),
    "ca_file": "ca.pem",
    "controller_time_zone": "Etc/UTC",
}


@pytest.mark.parametrize("kind", [VertexProfile, KubeflowProfile])
def test_every_key_of_a_profile_that_makes_other_runs_changes_the_fingerprint(
    kind: type[VertexProfile] | type[KubeflowProfile],
) -> None:
    one: Profile = profile()
    if kind is KubeflowProfile:
        one = KubeflowProfile(name="prod", platform="kubeflow", host="https://kubeflow.example.com")
    [desired] = prepare(schedule())
    before = fingerprint(desired.schedule, desired.job, one)
    assert set(kind.model_fields) <= {*CHANGED, *ELSEWHERE, "platform"}
    for key in kind.model_fields:
        if key == "platform":
            continue
        value = CHANGED[key] if key in CHANGED else ELSEWHERE[key]
        after = fingerprint(desired.schedule, desired.job, one.model_copy(update={key: value}))
        assert (after != before) is (key in CHANGED), key


def test_a_clean_up_that_fails_does_not_remove_the_original_alone() -> None:
    """The oldest says whether the new one fires: it goes last, also when another removal is refused."""
    [desired] = prepare(schedule())
    newer = existing_one("nightly", "2", days=2, paused=True)
    original = existing_one("nightly", "3", days=3)
    _, clean_up = plan([desired], existing_one(desired), newer, original)
    assert (clean_up.kind, [each.id for each in clean_up.old]) == (Kind.REMOVE, ["2", "3"])
