"""What a platform needs of this side: images in a registry, schedules that it can run, a bucket."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.mnist.errors import SettingError
from pipelines import container_images
from pipelines.checks import Finding, NotCheckedError, Verdict
from pipelines.container_images import ImageError
from pipelines.platforms import registry, shared_checks
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.profiles import Schedule
from tests.fakes.registry_server import Registry
from tests.fakes.storage_server import StorageServer
from tests.pipelines.test_container_images import checkout, git  # noqa: F401  (a fixture)

DIGEST = f"sha256:{'1a' * 32}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """A registry with both images, and nobody logged in."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    server = Registry(images={(f"team/{name}", DIGEST) for name in (STEPS_IMAGE, TRAINER_IMAGE)})
    yield server
    server.close()
    assert server.changes == []


@pytest.fixture
def lock(checkout: Path, server: Registry) -> Path:  # noqa: F811
    """A lock of images of this code in that registry."""
    names = (STEPS_IMAGE, TRAINER_IMAGE)
    references = {name: f"{server.host}/team/{name}@{DIGEST}" for name in names}
    container_images.write_lock(references, checkout / container_images.LOCK_FILE)
    return checkout / container_images.LOCK_FILE


def profile(**words: object) -> KubeflowProfile:
    return KubeflowProfile.model_validate(
        {"name": "cluster", "platform": "kubeflow", "host": "http://127.0.0.1:9", **words}
    )


def check_registry() -> Finding:
    return shared_checks.check_registry(profile(), lambda: None)


def log_in(folder: Path, host: str, user: str, password: str) -> None:
    """What `docker login` leaves."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_the_images_of_this_code_must_have_been_pushed(lock: Path) -> None:
    found = shared_checks.check_images(profile())
    assert found.verdict is Verdict.OK
    assert container_images.tag() in found.text
    (lock.parent / "components" / "step.py").write_text("answer = 43\n")
    with pytest.raises(ImageError, match="uncommitted changes"):
        shared_checks.check_images(profile())
    git(lock.parent, "commit", "--all", "--quiet", "--message", "second")
    with pytest.raises(ImageError, match=r"holds the images of .* but this code is .*make push"):
        shared_checks.check_images(profile())


def test_a_gpu_needs_the_trainer_with_cuda(lock: Path) -> None:
    with pytest.raises(ImageError, match=r"not pushed for this code.*GPU=1"):
        shared_checks.check_images(profile(accelerator="nvidia.com/gpu"))


def test_an_open_registry_says_what_it_has(lock: Path, server: Registry) -> None:
    assert check_registry() == Finding(Verdict.OK, f"{server.host} has all of them")
    server.images.remove((f"team/{TRAINER_IMAGE}", DIGEST))
    found = check_registry()
    assert found.verdict is Verdict.FAILING
    assert f"no longer has {server.host}/team/{TRAINER_IMAGE} of this code" in found.text
    assert "make push REGISTRY=host/path" in found.text


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_closed_registry_is_asked_with_the_login_of_docker(
    lock: Path, server: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    server.is_open, server.scheme, server.users = False, scheme, {"robot": "hunter2"}
    words = f"{server.host} requires credentials; check with your own: docker manifest inspect {server.host}/team/"
    with pytest.raises(NotCheckedError, match=re.escape(words)):
        check_registry()
    log_in(tmp_path, server.host, "robot", "wrong")
    with pytest.raises(NotCheckedError, match="rejected the credentials found here"):
        check_registry()
    log_in(tmp_path, server.host, "robot", "hunter2")
    assert check_registry().verdict is Verdict.OK
    # What other programs know about this host is no better.
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert check_registry().verdict is Verdict.OK


def test_a_registry_out_of_reach_may_still_be_in_reach_of_the_platform(lock: Path, server: Registry) -> None:
    server.status = 503
    with pytest.raises(NotCheckedError, match=f"{server.host} answered 503"):
        check_registry()
    server.status = None
    server.close()
    with pytest.raises(NotCheckedError, match="cannot be reached from here"):
        check_registry()


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("europe-docker.pkg.dev/p/r/i@x", "europe-docker.pkg.dev"),
        ("localhost:5000/i@x", "localhost:5000"),
        ("localhost/i@x", "localhost"),
        ("team/i@x", "docker.io"),
        ("i@x", "docker.io"),
    ],
)
def test_the_registry_of_a_reference_is_found_as_docker_does(reference: str, host: str) -> None:
    assert registry.find_host(reference) == host


@pytest.mark.parametrize(
    ("host", "is_google"),
    [
        ("europe-docker.pkg.dev", True),
        ("eu.gcr.io", True),
        ("gcr.io", True),
        ("docker.pkg.dev.example.com", False),
        ("evilgcr.io", False),
        ("registry.example.com", False),
    ],
)
def test_a_token_of_google_goes_to_google_only(
    host: str, is_google: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    login = registry.find_login(host, google_token="ya29.secret")
    assert (login is not None) is is_google
    assert "ya29" not in repr(login)


# --- schedules -----------------------------------------------------------------------------------------------------


def refuse_berlin(schedule: Schedule) -> None:
    if schedule.time_zone != "UTC":
        raise SettingError(f"{schedule.time_zone}: this one fires in UTC only.")


def schedule(**words: object) -> dict[str, object]:
    return {"name": "nightly", "cron": "0 3 * * *", **words}


def test_schedules_are_held_against_the_platform_and_the_pipeline() -> None:
    fine = profile(schedules=(schedule(), schedule(name="weekly", parameters={"epochs": 10})))
    assert shared_checks.check_schedules(fine, refuse_berlin) == Finding(Verdict.OK, "nightly, weekly, in UTC")
    zone = profile(schedules=(schedule(time_zone="Europe/Berlin"),))
    with pytest.raises(SettingError, match="nightly: Europe/Berlin: this one fires in UTC only"):
        shared_checks.check_schedules(zone, refuse_berlin)
    wrong = profile(schedules=(schedule(parameters={"epochs": 0}), schedule(name="other", parameters={"epoch": 1})))
    with pytest.raises(SettingError, match=r"nightly: epochs=0: expected 1 to 1000\. 2 schedules have errors\."):
        shared_checks.check_schedules(wrong, refuse_berlin)


# --- bucket --------------------------------------------------------------------------------------------------------

ROOT = "gs://artifacts/mnist"


def test_a_bucket_is_asked_what_may_be_done_with_it(storage_server: StorageServer) -> None:
    storage_server.granted["artifacts"] = {*shared_checks.READ, *shared_checks.WRITE}
    found = shared_checks.check_bucket(ROOT, steps_are_checked=False)
    assert found == Finding(Verdict.OK, "you can read gs://artifacts and write to it")
    assert all("/o" not in path.removeprefix("/storage/v1/b/artifacts") for path, _ in storage_server.statuses)


def test_who_only_reads_is_told_who_must_write(storage_server: StorageServer) -> None:
    storage_server.granted["artifacts"] = set(shared_checks.READ)
    found = shared_checks.check_bucket(ROOT, steps_are_checked=False)
    assert found.verdict is Verdict.WARNING
    assert "gcloud storage buckets get-iam-policy gs://artifacts" in found.text
    assert shared_checks.check_bucket(ROOT, steps_are_checked=True).verdict is Verdict.OK


def test_who_may_not_read_gets_the_command_that_lets_them(storage_server: StorageServer) -> None:
    storage_server.granted["artifacts"] = set()
    found = shared_checks.check_bucket(ROOT, steps_are_checked=True)
    assert found.verdict is Verdict.FAILING
    assert (
        "gcloud storage buckets add-iam-policy-binding gs://artifacts --role roles/storage.objectViewer" in found.text
    )


def test_a_bucket_that_is_not_there_is_to_be_made(storage_server: StorageServer) -> None:
    found = shared_checks.check_bucket("gs://nowhere/mnist", steps_are_checked=True)
    assert found.verdict is Verdict.FAILING
    assert "gcloud storage buckets create gs://nowhere --location REGION" in found.text
