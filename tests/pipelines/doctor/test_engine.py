"""Whether this machine can run in containers: engine, images, GPU, disk; against a played engine and a real one."""

import re
import shutil
from pathlib import Path

import pytest

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.mnist.errors import MnistError
from pipelines import container_images
from pipelines.checks import Finding, Verdict, perform
from pipelines.doctor import engine as doctor
from pipelines.runners.docker import REVISION
from pipelines.runners.engine import LABEL, Engine
from tests.fakes.container_engine import PlayedEngine


@pytest.fixture
def played(played_engine: PlayedEngine) -> PlayedEngine:
    """An engine with the images of this code, and no GPU."""
    played_engine.labels = {container_images.local_reference(name): label() for name in (STEPS_IMAGE, TRAINER_IMAGE)}
    return played_engine


def label(revision: str = "") -> dict[str, str]:
    return {REVISION: revision or container_images.tag()}


def look() -> dict[str, Finding]:
    passed: dict[str, bool] = {}
    return {check.name: perform(check, passed) for check in doctor.for_containers()}


def test_an_engine_with_the_images_of_this_code_is_fine(played: PlayedEngine) -> None:
    found = look()
    assert found["engine"].text == f"Docker Engine 28.2.2, API 1.50, at {played.address}"
    assert found["images"].verdict is found["GPU in containers"].verdict is Verdict.OK
    assert container_images.tag() in found["images"].text
    assert played.actions == []  # without a hint at a GPU nothing is started to look for one


def test_missing_images_are_to_be_built_and_nothing_is_started_without_them(played: PlayedEngine) -> None:
    del played.labels[container_images.local_reference(TRAINER_IMAGE)]
    found = look()
    assert found["images"].verdict is Verdict.FAILING
    assert "no such image, and none is ever pulled. Build it: make images" in found["images"].text
    assert found["GPU in containers"].verdict is Verdict.SKIPPED


def test_images_of_other_code_are_to_be_built_again(played: PlayedEngine) -> None:
    played.labels[container_images.local_reference(STEPS_IMAGE)] = label("1" * 12)
    assert "built from the code 111111111111, but this code is" in look()["images"].text


def give_gpu(played: PlayedEngine) -> None:
    played.info["Runtimes"] = {"runc": {}, "nvidia": {}}


def test_a_gpu_needs_the_trainer_with_cuda(played: PlayedEngine) -> None:
    give_gpu(played)
    found = look()["GPU in containers"]
    assert found.verdict is Verdict.WARNING
    assert "make images GPU=1" in found.text
    assert played.actions.count("start") == 1
    played.labels[container_images.local_reference(container_images.TRAINER_GPU_IMAGE)] = label()
    assert look()["GPU in containers"].verdict is Verdict.OK


def test_an_engine_that_gives_no_gpu_says_why(played: PlayedEngine) -> None:
    give_gpu(played)
    played.refusals["start"] = (500, 'could not select device driver "" with capabilities: [[gpu]]')
    found = look()["GPU in containers"]
    assert found.verdict is Verdict.WARNING
    assert "could not select device driver" in found.text
    assert "NVIDIA Container Toolkit" in found.text


def test_a_disk_that_is_not_this_machines_is_not_claimed_to_be_known(played: PlayedEngine) -> None:
    found = look()["engine's disk"]
    assert found.verdict is Verdict.SKIPPED
    assert "docker system df" in found.text


def test_a_disk_too_small_for_the_images_is_failing_until_they_are_there(
    played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Engine, "is_local", property(lambda _: True, lambda _, __: None), raising=False)
    monkeypatch.setattr(doctor, "IMAGES_BYTES", shutil.disk_usage(tmp_path).total)
    played.info["DockerRootDir"] = str(tmp_path)
    assert look()["engine's disk"].verdict is Verdict.OK
    played.labels.clear()
    found = look()["engine's disk"]
    assert found.verdict is Verdict.FAILING
    assert "docker system prune" in found.text


@pytest.mark.docker
def test_a_real_engine_is_left_as_it_was(engine: Engine) -> None:
    def list_started() -> list[str]:
        found = engine.client.containers.list(all=True, filters={"label": f"{LABEL}=mnist-gpu"})
        return sorted(container.id for container in found)

    before = list_started()
    found = look()
    assert found["engine"].verdict is Verdict.OK
    assert found["images"].verdict is Verdict.OK
    assert found["GPU in containers"].verdict in (Verdict.OK, Verdict.WARNING)
    assert list_started() == before


def test_no_engine_is_failing_and_hides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    found = look()
    assert [each.verdict for each in found.values()] == [Verdict.FAILING, *[Verdict.SKIPPED] * 3]
    with pytest.raises(MnistError, match=re.escape(str(tmp_path))):
        doctor.check_engine()
