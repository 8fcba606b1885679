"""The whole pipeline through the command: on the sample always, on MNIST where it is."""

import csv
import hashlib
import json
import os
import pty
import select
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipelines import compilation, training
from tests.conftest import MNIST
from tests.pipelines.commands.test_cli import COMMAND, NO_NETWORK, mnist


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run with nothing said on a machine that can't reach MNIST: it takes the sample."""
    folder = tmp_path_factory.mktemp("sample")
    return folder / "runs" / "latest", mnist("run", folder=folder, **NO_NETWORK)


def read(path: Path) -> dict:
    """A JSON file."""
    return json.loads(path.read_text())


def test_without_mnist_the_sample_is_taken_and_this_is_said_and_recorded(sample_run: tuple) -> None:
    run, finished = sample_run
    assert finished.returncode == 0, finished.stderr
    assert len([line for line in finished.stdout.splitlines() if "Using source=sample." in line]) == 1
    assert read(run / "run.json")["parameters"]["source"] == "sample"
    assert read(run / "steps" / "ingest" / "test_data" / "manifest.json")["source"] == "sample"


def test_a_run_says_each_step_the_figures_and_where_the_report_is(sample_run: tuple) -> None:
    run, finished = sample_run
    lines = finished.stdout.splitlines()
    assert [line for line in lines if line in ("ingest", "train", "evaluate", "visualize")] == [
        "ingest",
        "train",
        "evaluate",
        "visualize",
    ]
    assert len([line for line in lines if line.startswith("  ✓")]) == 4
    accuracy = read(run / "steps" / "evaluate" / "metrics" / "metrics.json")["accuracy"]
    assert any(line.startswith("test accuracy") and f"{accuracy:.2%}" in line for line in lines)
    assert lines[-1].startswith("report  ")
    assert (run.parent.parent / lines[-1].split()[-1]).is_file()


def test_the_sample_is_learned(sample_run: tuple) -> None:
    run, _ = sample_run
    assert read(run / "steps" / "evaluate" / "metrics" / "metrics.json")["accuracy"] >= 0.96


def test_every_artifact_is_where_the_design_says(sample_run: tuple) -> None:
    steps = sample_run[0] / "steps"
    for data in ("training_data", "validation_data", "test_data"):
        images = np.load(steps / "ingest" / data / "images.npy")
        assert images.dtype == np.uint8
        assert len(images) == read(steps / "ingest" / data / "manifest.json")["count"]
    for file in ("model.keras", "model.onnx", "model.json"):
        assert (steps / "train" / "model" / file).is_file()
    with (steps / "train" / "history" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 5
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    probabilities = np.load(steps / "evaluate" / "predictions" / "probabilities.npy")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_top_of_the_run_holds_what_people_open(sample_run: tuple) -> None:
    run, _ = sample_run
    assert (run / "report.html").read_text().startswith("<!")
    assert (run / "summary.md").is_file()
    assert len(list((run / "figures").glob("*.png"))) >= 6
    record = read(run / "run.json")
    assert record["state"] == "succeeded"
    assert record["seconds"].keys() == {"ingest", "train", "evaluate", "visualize"}
    assert not (run / "kfp").exists()


def test_one_component_runs_alone_and_gives_the_same_answer(sample_run: tuple) -> None:
    run, _ = sample_run
    finished = mnist(
        "step",
        "evaluate",
        "model=runs/latest/steps/train/model",
        "test_data=runs/latest/steps/ingest/test_data",
        folder=run.parent.parent,
    )
    assert finished.returncode == 0, finished.stderr
    again = next((run.parent).glob("*-evaluate")) / "steps" / "evaluate" / "predictions" / "probabilities.npy"
    first = run / "steps" / "evaluate" / "predictions" / "probabilities.npy"
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest()
    assert f"predictions  {again.parent.relative_to(run.parent.parent)}" in finished.stdout
    assert run.resolve().name == read(run / "run.json")["started"].replace(":", "-")


def test_a_compiled_file_is_the_pipeline_that_runs_here(tmp_path: Path) -> None:
    """`tests/pipelines/test_compiled.py` runs such files, with more in them."""
    assert mnist("compile", "-o", "pipeline.yaml", folder=tmp_path).returncode == 0
    with (tmp_path / "pipeline.yaml").open() as file:
        assert tuple(yaml.safe_load_all(file)) == compilation.compile_documents(training.build(training.Placement()))


def test_a_terminal_gets_a_moving_bar(sample_run: tuple, tmp_path: Path) -> None:
    data = [f"{name}={sample_run[0] / 'steps' / 'ingest' / name}" for name in ("training_data", "validation_data")]
    shown = in_a_terminal(["step", "train", *data, "epochs=2"], folder=tmp_path)
    assert "━" in shown
    assert "epoch 1/2" in shown
    assert "epoch 2/2" in shown
    assert "@progress" not in shown


def in_a_terminal(words: list[str], *, folder: Path) -> str:
    """Everything that the command draws in a terminal of 100 columns."""
    leader, follower = pty.openpty()
    variables = os.environ | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    variables.pop("NO_COLOR", None)
    process = subprocess.Popen([COMMAND, *words], cwd=folder, stdout=follower, stderr=follower, env=variables)
    os.close(follower)
    shown = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 1)
        try:
            chunk = os.read(leader, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
        shown += chunk
        if not chunk and process.poll() is not None:
            break
    os.close(leader)
    assert process.wait(timeout=300) == 0, shown.decode()
    return shown.decode(errors="replace")


@pytest.mark.mnist
def test_mnist_is_learned_with_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(MNIST, tmp_path / "data" / "mnist.npz")
    finished = mnist("run", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    run = tmp_path / "runs" / "latest"
    metrics = read(run / "steps" / "evaluate" / "metrics" / "metrics.json")
    card = read(run / "steps" / "train" / "model" / "model.json")
    assert metrics["count"] == 10_000
    assert metrics["accuracy"] >= 0.990
    assert card["parameters"] == 225_034
    assert card["metrics"]["training_accuracy"] >= 0.99
    assert card["metrics"]["validation_accuracy"] >= 0.985
    assert read(run / "run.json")["parameters"]["source"] == "mnist"
