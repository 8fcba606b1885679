"""What of this machine a step's container gets."""

import json
import os
from pathlib import Path

import pytest

from components.mnist.errors import SettingError
from pipelines.run_folder import StepError
from pipelines.runners.grants import FOLDER, MEMORY, find_grant, memory_bytes
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
    grant = find_grant(task("ingest", here, source=given))
    (bind,) = grant.binds
    assert bind.source == here / "digits.npz"
    assert bind.read_only
    assert grant.source == given
    assert os.path.normpath(f"{grant.folder}/{given}") == bind.target
    assert bind.target.startswith(f"{FOLDER}/")
    assert not grant.network


def test_an_absolute_source_keeps_its_path(here: Path) -> None:
    (here / "digits").mkdir()
    (bind,) = find_grant(task("ingest", here, source=f"{here}/digits/")).binds
    assert (bind.source, bind.target, bind.read_only) == (here / "digits", f"{here}/digits", True)


def test_a_source_at_home_is_found_though_the_container_has_another_home(here: Path) -> None:
    file = here.parents[1] / "home" / "digits.npz"
    file.parent.mkdir()
    file.touch()
    grant = find_grant(task("ingest", here, source="~/digits.npz"))
    assert grant.source == str(file)
    assert grant.binds[0].target == str(file)


def test_a_source_that_is_not_there_fails_before_a_container_is_made(here: Path) -> None:
    with pytest.raises(StepError, match=r"ingest: digits\.npz: no such file or folder") as failure:
        find_grant(task("ingest", here, source="digits.npz"))
    assert failure.value.step == "ingest"


def test_mnist_on_this_machine_needs_no_network(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data" / "mnist.npz").touch()
    grant = find_grant(task("ingest", here, source="mnist"))
    assert not grant.network
    assert [(bind.source, bind.target) for bind in grant.binds] == [
        (here / "data" / "mnist.npz", f"{FOLDER}/data/mnist.npz")
    ]


def test_mnist_that_is_not_here_is_downloaded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("MNIST_URL", "https://mirror.example/mnist.npz")
    monkeypatch.setenv("SECRET", "nobody's business")
    grant = find_grant(task("ingest", here, source="mnist"))
    assert grant.network
    assert grant.binds == []
    assert grant.environment["https_proxy"] == "http://proxy.example:3128"
    assert grant.environment["MNIST_URL"] == "https://mirror.example/mnist.npz"
    assert "SECRET" not in grant.environment


@pytest.mark.parametrize("source", ["gs://bucket/digits", "https://host.example/x.npz", "HTTP://host.example/x.npz"])
def test_a_remote_source_gets_a_network(here: Path, source: str) -> None:
    assert find_grant(task("ingest", here, source=source)).network


@pytest.mark.parametrize("source", ["sample", "s3://bucket/x", "file:///etc/passwd"])
def test_other_sources_get_neither_network_nor_files(here: Path, source: str) -> None:
    grant = find_grant(task("ingest", here, source=source))
    assert not grant.network
    assert grant.binds == []


def test_google_credentials_go_to_a_bucket_and_nowhere_else(here: Path) -> None:
    file = here.parents[1] / "home" / ".config" / "gcloud" / "application_default_credentials.json"
    file.parent.mkdir(parents=True)
    file.touch()
    grant = find_grant(task("ingest", here, source="gs://bucket/digits"))
    assert grant.environment["GOOGLE_APPLICATION_CREDENTIALS"] == str(file)
    assert [(bind.source, bind.read_only) for bind in grant.binds] == [(file, True)]
    assert find_grant(task("ingest", here, source="https://host.example/x.npz")).binds == []


def test_a_step_sees_what_it_takes_and_cannot_change_it(here: Path) -> None:
    (here / "model").mkdir()
    grant = find_grant(task("evaluate", here, inputs=(here / "model", here / "confusion-without-a-file")))
    assert [(bind.source, bind.target, bind.read_only) for bind in grant.binds] == [
        (here / "model", f"{here}/model", True)
    ]
    assert not grant.network


def test_memory_is_limited_and_the_limit_can_be_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_bytes("train") > memory_bytes("ingest") >= 2**30
    monkeypatch.setenv(MEMORY, "512m")
    assert memory_bytes("train") == memory_bytes("ingest") == 512 * 2**20


@pytest.mark.parametrize("size", ["much", "-1", "1", "4 apples"])
def test_a_limit_that_is_no_size_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv(MEMORY, size)
    with pytest.raises(SettingError, match=rf"MNIST_MEMORY={size}: expected the memory .* as in 4g or 512m"):
        memory_bytes("train")
