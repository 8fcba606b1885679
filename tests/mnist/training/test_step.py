"""The train step as a process: what it writes, says and refuses, and that it repeats itself to the byte."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from components.mnist.data.datasets import read_dataset, read_manifest, write_dataset
from components.mnist.errors import DataError, DeviceError, ModelError, SettingError, TrainingError
from components.mnist.model import load_classifier, read_card
from components.mnist.training import devices, export
from components.mnist.training.step import choose_batch_size, train_model

SETTINGS = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.004,
    "label_smoothing": 0.05,
    "shift": 1,
    "precision": "float32",
    "seed": 7,
    "require_gpu": False,
}
PROGRAM = """
import json, sys
from pathlib import Path
from components.mnist.training import train_model
arguments = json.loads(sys.argv[1])
train_model(**{name: Path(value) if name.endswith("_folder") else value for name, value in arguments.items()})
"""


@dataclass
class Child:
    """A process that trained.

    Attributes:
        lines: Of its standard output, each with the second when it arrived, counted from the process's end.
    """

    folder: Path
    lines: list[tuple[float, str]]


def write(folder: Path, images: np.ndarray, labels: np.ndarray, *, split: str, classes: str = "0123456789") -> Path:
    """Make a data set folder."""
    write_dataset(
        folder,
        [(images, labels)],
        split=split,
        count=len(labels),
        classes=tuple(classes),
        source="sample",
        origin="sample.npz",
        settings={},
        notes=(),
    )
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, np.ndarray]) -> dict[str, Path]:
    """The arguments that name 200 training and 60 validation images."""
    folder = tmp_path_factory.mktemp("data")
    return {
        f"{split}_folder": write(folder / split, digits[f"x_{part}"], digits[f"y_{part}"], split=split)
        for split, part in {"training": "train", "validation": "test"}.items()
    }


def outputs(folder: Path) -> dict[str, Path]:
    """The arguments that name what is written."""
    return {"model_folder": folder / "model", "history_folder": folder / "history"}


def train_in_a_process(folder: Path, data: dict[str, Path], **variables: str) -> Child:
    """Train with default threads and without PYTHONUNBUFFERED, reading the lines as they come."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | variables
    arguments = {name: str(path) for name, path in (data | outputs(folder)).items()} | SETTINGS
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [(time.monotonic(), line.rstrip("\n")) for line in process.stdout]
    errors = process.stderr.read()
    assert process.wait() == 0, errors
    ended = time.monotonic()
    return Child(folder, [(at - ended, line) for at, line in lines])


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Path]) -> Child:
    return train_in_a_process(tmp_path_factory.mktemp("child"), data, PYTHONHASHSEED="1")


def test_two_processes_write_the_same_bytes(child: Child, data: dict[str, Path], tmp_path: Path) -> None:
    again = train_in_a_process(tmp_path, data, PYTHONHASHSEED="2")
    for file in ("model.keras", "model.onnx"):
        first, second = (
            hashlib.sha256((run.folder / "model" / file).read_bytes()).hexdigest() for run in (child, again)
        )
        assert first == second, file


def test_lines_arrive_while_it_happens(child: Child) -> None:
    texts = [text for _, text in child.lines]
    assert re.fullmatch(
        r"[CG]PU, .+, float32: 200 training and 60 validation images, 3 epochs of 13 steps of 16", texts[0]
    ), texts
    assert [text.split("  ")[0] for text in texts[1:4]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert texts[4].startswith("kept epoch ")
    assert len(texts) == 5  # nothing from TensorFlow, Keras or tf2onnx
    arrivals = [at for at, _ in child.lines]
    # The first epoch takes the tracing of the network, and the export comes after the last.
    assert arrivals[1] - arrivals[0] > 0.5
    assert arrivals[4] - arrivals[3] > 0.3


def test_history_has_a_line_an_epoch(child: Child) -> None:
    with (child.folder / "history" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert all(0 < float(row["seconds"]) < 300 for row in rows)
    assert float(rows[0]["learning_rate"]) > float(rows[2]["learning_rate"]) >= 0


def test_the_card_tells_how_the_model_came_about(child: Child, data: dict[str, Path]) -> None:
    card = read_card(child.folder / "model")
    assert card.recipe == SETTINGS
    assert card.parameters == 225_034
    assert card.classes == tuple("0123456789")
    assert card.input == {
        "name": "images",
        "dtype": "float32",
        "shape": ["batch", 28, 28, 1],
        "range": [0, 1],
        "ink": 1,
    }
    assert card.data == {
        "source": "sample",
        "origin": "sample.npz",
        "training_sha256": read_manifest(data["training_folder"]).sha256,
        "validation_sha256": read_manifest(data["validation_folder"]).sha256,
    }
    assert card.precision == "float32"
    assert re.match(r"[CG]PU, ", card.device)
    assert 0 <= card.onnx_difference <= 1e-5
    assert card.versions["keras"].startswith("3.")
    assert card.created.endswith("+00:00")
    assert {type(value) for value in card.metadata().values()} <= {str, int, float}


def test_the_figures_are_those_of_the_kept_weights_on_data_as_it_is(child: Child, data: dict[str, Path]) -> None:
    figures = read_card(child.folder / "model").figures
    classifier = load_classifier(child.folder / "model")
    for split in ("training", "validation"):
        dataset = read_dataset(data[f"{split}_folder"])
        probabilities = classifier.probabilities(dataset.images)
        accuracy = (probabilities.argmax(axis=1) == dataset.labels).mean()
        loss = -np.log(probabilities[np.arange(len(dataset.labels)), dataset.labels]).mean()
        assert figures[f"{split}_accuracy"] == pytest.approx(accuracy, abs=1e-6)
        assert figures[f"{split}_loss"] == pytest.approx(loss, rel=1e-4)
    with (child.folder / "history" / "history.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert figures["best_epoch"] == 1 + losses.index(min(losses))
    assert figures["validation_loss"] == pytest.approx(min(losses), rel=1e-4)
    assert figures["images_per_second"] > 0
    assert figures["seconds"] > 0


def test_only_the_promised_files_are_there(child: Child) -> None:
    files = {str(path.relative_to(child.folder)) for path in child.folder.rglob("*") if path.is_file()}
    assert files == {"model/model.keras", "model/model.onnx", "model/model.json", "history/history.csv"}
    assert {path.name for path in child.folder.iterdir()} == {"model", "history"}


def test_other_classes_and_bfloat16_train_too_and_ship_in_float32(
    data: dict[str, Path], digits: dict[str, np.ndarray], tmp_path: Path
) -> None:
    few = {
        f"{split}_folder": write(
            tmp_path / split,
            digits[f"x_{part}"][digits[f"y_{part}"] < 3],
            digits[f"y_{part}"][digits[f"y_{part}"] < 3],
            split=split,
            classes="abc",
        )
        for split, part in {"training": "train", "validation": "test"}.items()
    }
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    changes = {"epochs": 1, "precision": "bfloat16", "batch_size": 0}
    card = train_model(**few, **outputs(tmp_path), **(SETTINGS | changes))
    assert card.recipe == SETTINGS | changes | {"batch_size": 16}  # as used
    assert (card.classes, card.precision) == (("a", "b", "c"), "bfloat16")
    classifier = load_classifier(tmp_path / "model")
    assert classifier.probabilities(digits["x_test"]).shape == (60, 3)
    assert not (tmp_path / "model" / "old").exists()


def test_a_failure_leaves_what_was_there(
    data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("the model before")
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    monkeypatch.setenv("MNIST_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(ModelError, match=r"model\.onnx and model\.keras differ by"):
        train_model(**data, **outputs(tmp_path), **(SETTINGS | {"epochs": 1}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["error.json", "model"]
    assert (tmp_path / "model" / "model.json").read_text() == "the model before"
    error = json.loads((tmp_path / "error.json").read_text())
    assert (error["error"], error["expected"]) == ("ModelError", True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, SettingError, "epochs=0: expected 1 to 1000"),
        ({"precision": "float8"}, SettingError, "precision=float8: expected auto, float32 or bfloat16"),
        (
            {"batch_size": 201},
            TrainingError,
            "batch_size=201, but there are only 200 training images. Lower batch_size",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(
    data: dict[str, Path], tmp_path: Path, change: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        train_model(**data, **outputs(tmp_path), **(SETTINGS | change))
    assert not list(tmp_path.iterdir())


def test_data_sets_with_different_classes_are_refused(
    data: dict[str, Path], digits: dict[str, np.ndarray], tmp_path: Path
) -> None:
    other = write(tmp_path / "other", digits["x_test"], digits["y_test"], split="validation", classes="abcdefghij")
    with pytest.raises(
        DataError, match=r"the validation data has the classes a, b, .*, where the training data has 0, 1"
    ):
        train_model(**(data | {"validation_folder": other}), **outputs(tmp_path), **SETTINGS)


@pytest.mark.parametrize(
    ("images", "label", "message"),
    [
        (0, 0, "the validation data has no images; at least one is needed"),
        (3, 10, "the validation data has the label 10, but there are only 10 classes, from 0"),
    ],
)
def test_data_that_nothing_can_be_learned_from_is_refused(
    data: dict[str, Path], digits: dict[str, np.ndarray], tmp_path: Path, images: int, label: int, message: str
) -> None:
    odd = write(tmp_path / "odd", digits["x_test"][:images], np.full(images, label, np.uint8), split="validation")
    with pytest.raises(DataError, match=message):
        train_model(**(data | {"validation_folder": odd}), **outputs(tmp_path), **SETTINGS)


@pytest.mark.parametrize(
    ("images", "batch_size"), [(54_000, 128), (5_120, 128), (5_119, 64), (1_293, 32), (200, 16), (9, 9)]
)
def test_small_data_gets_small_batches_when_no_size_is_given(images: int, batch_size: int) -> None:
    assert choose_batch_size(images) == batch_size


def test_a_missing_data_set_is_named(data: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: holds no manifest\.json"):
        train_model(**(data | {"training_folder": tmp_path / "nowhere"}), **outputs(tmp_path), **SETTINGS)


def test_a_required_gpu_that_is_missing_is_said_before_anything_else(
    data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "GPU_FILES", (str(tmp_path / "nvidia"),))
    started = time.monotonic()
    with pytest.raises(DeviceError, match="require_gpu is true, but this machine shows no GPU"):
        train_model(**data, **outputs(tmp_path), **(SETTINGS | {"require_gpu": True}))
    assert time.monotonic() - started < 1
