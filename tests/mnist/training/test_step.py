"""The train step: what it writes, says and refuses, and that it repeats itself to the byte."""

import csv
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.mnist.data.datasets import read_dataset, read_manifest, write_dataset
from components.mnist.errors import DataError, DeviceError, ModelError
from components.mnist.history import Epoch
from components.mnist.model import load_classifier, read_card
from components.mnist.training import devices, export
from components.mnist.training.step import choose_batch_size, train_model
from tests.recipe import RECIPE

PROGRAM = """
import json, sys
from pathlib import Path
from components.mnist.settings import Recipe
from components.mnist.training.step import train_model
names = ("training_folder", "validation_folder", "model_folder", "history_folder")
train_model(recipe=Recipe(**json.loads(sys.argv[1])), **dict(zip(names, map(Path, sys.argv[2:]), strict=True)))
"""


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Path]) -> Path:
    """A folder with a trained model and its history."""
    folder = tmp_path_factory.mktemp("trained")
    train_model(recipe=RECIPE, **data, **outputs(folder))
    return folder


def test_another_process_writes_the_same_bytes_and_prints_a_line_an_epoch(
    trained: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    # Another order of Python's sets than here.
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            json.dumps(dataclasses.asdict(RECIPE)),
            *data.values(),
            *outputs(tmp_path).values(),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    assert finished.returncode == 0, finished.stderr
    for file in ("model.keras", "model.onnx"):
        first, second = (
            hashlib.sha256((folder / "model" / file).read_bytes()).hexdigest() for folder in (trained, tmp_path)
        )
        assert first == second, file
    lines = finished.stdout.splitlines()
    assert re.fullmatch(
        r"[CG]PU, .+, float32: 200 training and 60 validation images, 3 epochs of 13 steps of 16", lines[0]
    )
    assert [line.split("  ")[0] for line in lines[1:4]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert lines[4].startswith("kept epoch ")
    assert len(lines) == 5  # nothing from TensorFlow, Keras or tf2onnx


def test_history_has_a_line_an_epoch(trained: Path) -> None:
    with (trained / "history" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert float(rows[0]["learning_rate"]) > float(rows[2]["learning_rate"]) >= 0


def test_the_card_says_how_the_model_was_made(trained: Path, data: dict[str, Path]) -> None:
    card = read_card(trained / "model")
    assert card.recipe == dataclasses.asdict(RECIPE)
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


def test_the_metrics_are_those_of_the_kept_weights_on_images_that_are_not_shifted(
    trained: Path, data: dict[str, Path]
) -> None:
    metrics = read_card(trained / "model").metrics
    classifier = load_classifier(trained / "model")
    for split in ("training", "validation"):
        dataset = read_dataset(data[f"{split}_folder"])
        probabilities = classifier.probabilities(dataset.images)
        accuracy = (probabilities.argmax(axis=1) == dataset.labels).mean()
        loss = -np.log(probabilities[np.arange(len(dataset.labels)), dataset.labels]).mean()
        assert getattr(metrics, f"{split}_accuracy") == pytest.approx(accuracy, abs=1e-6)
        assert getattr(metrics, f"{split}_loss") == pytest.approx(loss, rel=1e-4)
    with (trained / "history" / "history.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert metrics.best_epoch == 1 + losses.index(min(losses))
    assert metrics.validation_loss == pytest.approx(min(losses), rel=1e-4)
    assert metrics.images_per_second > 0
    assert metrics.seconds > 0


def test_only_the_promised_files_are_there(trained: Path) -> None:
    files = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert files == {"model/model.keras", "model/model.onnx", "model/model.json", "history/history.csv"}
    assert {path.name for path in trained.iterdir()} == {"model", "history"}


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
    recipe = dataclasses.replace(RECIPE, epochs=1, precision="bfloat16", batch_size=0)
    card = train_model(recipe=recipe, **few, **outputs(tmp_path))
    assert card.recipe == dataclasses.asdict(recipe) | {"batch_size": 16}  # as used
    assert (card.classes, card.precision) == (("a", "b", "c"), "bfloat16")
    classifier = load_classifier(tmp_path / "model")
    assert classifier.probabilities(digits["x_test"]).shape == (60, 3)
    assert not (tmp_path / "model" / "old").exists()


def test_a_failure_leaves_what_was_there(
    data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("the model before")
    from components.mnist.training import fitting
    from components.mnist.training.network import build_network

    weights = build_network(10, precision="float32").get_weights()
    epoch = Epoch(1, loss=1, accuracy=0, val_loss=1, val_accuracy=0, learning_rate=0.1, seconds=1)
    fit = fitting.Fit(weights, best_epoch=1, epochs=[epoch], seconds=1, images_per_second=200)
    monkeypatch.setattr(fitting, "fit_network", lambda *_, **__: fit)
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    monkeypatch.setenv("MNIST_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(ModelError, match=r"model\.onnx and model\.keras differ by"):
        train_model(recipe=RECIPE, **data, **outputs(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["error.json", "model"]
    assert (tmp_path / "model" / "model.json").read_text() == "the model before"
    error = json.loads((tmp_path / "error.json").read_text())
    assert (error["error"], error["expected"]) == ("ModelError", True)


def test_a_batch_larger_than_the_data_takes_all_of_it() -> None:
    assert choose_batch_size(8192, images=200) == 200
    assert choose_batch_size(200, images=200) == 200


def test_data_sets_with_different_classes_are_refused(
    data: dict[str, Path], digits: dict[str, np.ndarray], tmp_path: Path
) -> None:
    other = write(tmp_path / "other", digits["x_test"], digits["y_test"], split="validation", classes="abcdefghij")
    with pytest.raises(
        DataError, match=r"the validation data has the classes a, b, .*, but the training data has 0, 1"
    ):
        train_model(recipe=RECIPE, **(data | {"validation_folder": other}), **outputs(tmp_path))


@pytest.mark.parametrize(
    ("images", "label", "message"),
    [
        (0, 0, "odd: has no images; at least one is needed"),
        (3, 10, "odd/labels.npy has the label 10, but there are only 10 classes, from 0"),
    ],
)
def test_data_that_nothing_can_be_learned_from_is_refused(
    data: dict[str, Path], digits: dict[str, np.ndarray], tmp_path: Path, images: int, label: int, message: str
) -> None:
    odd = write(tmp_path / "odd", digits["x_test"][:images], np.full(images, label, np.uint8), split="validation")
    with pytest.raises(DataError, match=message):
        train_model(recipe=RECIPE, **(data | {"validation_folder": odd}), **outputs(tmp_path))


@pytest.mark.parametrize(
    ("images", "batch_size"), [(54_000, 128), (5_120, 128), (5_119, 64), (1_293, 32), (200, 16), (9, 9)]
)
def test_small_data_gets_small_batches_when_no_size_is_given(images: int, batch_size: int) -> None:
    assert choose_batch_size(0, images=images) == batch_size


def test_a_missing_data_set_is_named(data: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: holds no manifest\.json"):
        train_model(recipe=RECIPE, **(data | {"training_folder": tmp_path / "nowhere"}), **outputs(tmp_path))


def test_a_missing_gpu_is_reported_before_the_data_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "GPU_FILES", (str(tmp_path / "nvidia"),))
    folders = {f"{split}_folder": tmp_path / "nowhere" for split in ("training", "validation")}
    with pytest.raises(DeviceError, match="require_gpu is true, but this machine shows no GPU"):
        train_model(recipe=dataclasses.replace(RECIPE, require_gpu=True), **folders, **outputs(tmp_path))
