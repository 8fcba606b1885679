"""What of this machine a step's container may use."""

import json
import os
from pathlib import Path

import pytest

from components.mnist.errors import SettingError
from pipelines.run_folder import StepError
from pipelines.runners.access import FOLDER, MEMORY, Access, find_access, memory_bytes
from pipelines.runners.orchestration import Task


def task(name: str, folder: Path, *, source: str = "", inputs: tuple[Path, ...] = ()) -> Task:
    """A step as KFP asks for it."""
    artifact = {"type": {"schemaTitle": "system.Dataset"}}
    artifacts = {f"input{i}": {"artifacts": [artifact | {"uri": str(path)}]} for i, path in enumerate(inputs)}
    executor_input = {
        "inputs": {"parameterValues": {"source": source}, "artifacts": artifacts},
        "outputs": {"outputFile": str(folder / name / "executor_output.json")},
    }
    command = ["sh", "-c", "", "--executor_input", json.dumps(executor_input), "--function_to_execute", name]
    return Task(name, "image", command, {}, folder / "log", folder / "error.json")


def read_only_mounts(access: Access) -> list[tuple[str, str]]:
    """Source and target of each bind mount; none may be writable."""
    assert all(mount["ReadOnly"] and mount["Type"] == "bind" for mount in access.mounts)
    return [(mount["Source"], mount["Target"]) for mount in access.mounts]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command is typed; nothing of the tester's own settings reaches it."""
    for name in ("MNIST_DATA_DIR", "CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", MEMORY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "a" / "here"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("given", ["digits.npz", "./digits.npz", "../here/digits.npz", "../../a/here/digits.npz"])
def test_a_relative_source_leads_inside_where_it_leads_outside(here: Path, given: str) -> None:
    (here / "digits.npz").touch()
    access = find_access(task("ingest", here, source=given))
    assert access.source == given
    ((source, target),) = read_only_mounts(access)
    assert source == f"{here}/digits.npz"
    assert target == os.path.normpath(f"{access.folder}/{given}")
    assert target.startswith(f"{FOLDER}/")
    assert not access.network


def test_an_absolute_source_keeps_its_path(here: Path) -> None:
    (here / "digits").mkdir()
    access = find_access(task("ingest", here, source=f"{here}/digits/"))
    assert read_only_mounts(access) == [(f"{here}/digits", f"{here}/digits")]


def test_a_source_at_home_is_found_though_the_container_has_another_home(here: Path) -> None:
    file = here.parents[1] / "home" / "digits.npz"
    file.parent.mkdir()
    file.touch()
    access = find_access(task("ingest", here, source="~/digits.npz"))
    assert access.source == str(file)
    assert read_only_mounts(access) == [(str(file), str(file))]


def test_a_missing_source_fails_before_a_container_is_created(here: Path) -> None:
    with pytest.raises(StepError, match=r"ingest: digits\.npz: no such file or folder") as failure:
        find_access(task("ingest", here, source="digits.npz"))
    assert failure.value.step == "ingest"


def test_mnist_on_this_machine_needs_no_network(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data" / "mnist.npz").touch()
    access = find_access(task("ingest", here, source="mnist"))
    assert not access.network
    assert read_only_mounts(access) == [(f"{here}/data/mnist.npz", f"{FOLDER}/data/mnist.npz")]


def test_mnist_that_is_not_on_this_machine_is_downloaded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("MNIST_URL", "https://mirror.example/mnist.npz")
    monkeypatch.setenv("SECRET", "nobody's business")
    access = find_access(task("ingest", here, source="mnist"))
    assert access.network
    assert access.mounts == []
    assert access.environment["https_proxy"] == "http://proxy.example:3128"
    assert access.environment["MNIST_URL"] == "https://mirror.example/mnist.npz"
    assert "SECRET" not in access.environment


@pytest.mark.parametrize("source", ["gs://bucket/digits", "https://host.example/x.npz", "HTTP://host.example/x.npz"])
def test_a_remote_source_gets_a_network(here: Path, source: str) -> None:
    assert find_access(task("ingest", here, source=source)).network


@pytest.mark.parametrize("source", ["sample", "s3://bucket/x", "file:///etc/passwd"])
def test_other_sources_get_neither_network_nor_files(here: Path, source: str) -> None:
    access = find_access(task("ingest", here, source=source))
    assert not access.network
    assert access.mounts == []


def test_google_credentials_go_to_a_bucket_and_nowhere_else(here: Path) -> None:
    file = here.parents[1] / "home" / ".config" / "gcloud" / "application_default_credentials.json"
    file.parent.mkdir(parents=True)
    file.touch()
    access = find_access(task("ingest", here, source="gs://bucket/digits"))
    assert access.environment["GOOGLE_APPLICATION_CREDENTIALS"] == str(file)
    assert read_only_mounts(access) == [(str(file), str(file))]
    assert find_access(task("ingest", here, source="https://host.example/x.npz")).mounts == []


def test_a_step_sees_its_input_artifacts_and_cannot_change_them(here: Path) -> None:
    (here / "model").mkdir()
    access = find_access(task("evaluate", here, inputs=(here / "model", here / "confusion-without-a-file")))
    assert read_only_mounts(access) == [(f"{here}/model", f"{here}/model")]
    assert not access.network


def test_memory_is_limited_and_the_limit_can_be_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_bytes("train") > memory_bytes("ingest") >= 2**30
    monkeypatch.setenv(MEMORY, "512m")
    assert memory_bytes("train") == memory_bytes("ingest") == 512 * 2**20


@pytest.mark.parametrize("size", ["much", "-1", "1", "4 apples"])
def test_a_limit_that_is_no_size_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv(MEMORY, size)
    with pytest.raises(SettingError, match=rf"MNIST_MEMORY={size}: expected the memory .* as in 4g or 512m"):
        memory_bytes("train")
