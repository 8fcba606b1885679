"""The step that measures a model, on a small real one."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from kfp import dsl
from onnx import numpy_helper

from components.mnist.data.datasets import read_dataset
from components.mnist.errors import DataError, ModelError
from components.mnist.evaluation.results import Evaluation, read_evaluation, read_probabilities
from components.mnist.evaluation.step import evaluate_model
from tests.conftest import write_linear_model


def evaluate(run: Path, *, test: str = "test") -> Evaluation:
    return evaluate_model(
        model_folder=run / "model",
        test_folder=run / test,
        metrics_folder=run / "metrics",
        predictions_folder=run / "predictions",
    )


def change_json(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def expected_probabilities(run: Path) -> np.ndarray:
    """The model's probabilities, computed with NumPy from its weights."""
    tensors = onnx.load(run / "model/model.onnx").graph.initializer
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
    pixels = read_dataset(run / "test").images.reshape(-1, 784).astype(np.float64) / 255
    scores = np.exp(pixels @ values["weights"] + values["bias"])
    return scores / scores.sum(axis=1, keepdims=True)


def test_predictions_are_written_in_the_order_of_the_test_data(run_folder: Path) -> None:
    evaluate(run_folder)
    probabilities = read_probabilities(run_folder / "predictions", count=60, classes=10)
    np.testing.assert_allclose(probabilities, expected_probabilities(run_folder), atol=1e-6)


def test_every_metric_follows_from_the_predictions(run_folder: Path) -> None:
    found = evaluate(run_folder)
    labels = read_dataset(run_folder / "test").labels
    probabilities = expected_probabilities(run_folder)
    right = probabilities.argmax(axis=1) == labels
    assert 0 < right.sum() < 60
    assert found.correct == right.sum()
    assert found.accuracy == pytest.approx(right.mean())
    assert found.accuracy_low < found.accuracy < found.accuracy_high
    assert found.loss == pytest.approx(-np.log(probabilities[np.arange(60), labels]).mean(), rel=1e-5)
    assert np.sum(found.confusion) == 60
    assert np.trace(found.confusion) == right.sum()
    assert found.support == tuple(np.bincount(labels, minlength=10).tolist())
    assert found.recall == pytest.approx([right[labels == number].mean() for number in range(10)])
    assert found.worst_class_recall == min(found.recall) == found.recall[int(found.worst_class)]
    assert sum(found.bin_count) == 60
    assert 0 < found.latency_p50_ms <= found.latency_p99_ms


def test_the_file_holds_what_was_returned(run_folder: Path) -> None:
    found = evaluate(run_folder)
    assert read_evaluation(run_folder / "metrics") == found


def test_pipeline_pages_take_every_value(run_folder: Path) -> None:
    found = evaluate(run_folder)
    scalars = found.scalars()
    assert {"accuracy", "accuracy_low", "loss", "macro_f1", "calibration_error", "worst_class_recall"} <= set(scalars)
    assert {type(value) for value in scalars.values()} <= {int, float, str}
    assert all(math.isfinite(value) for value in scalars.values() if not isinstance(value, str))
    page = dsl.ClassificationMetrics()
    page.log_confusion_matrix(list(found.classes), [list(row) for row in found.confusion])
    page.log_roc_curve(list(found.roc_fpr), list(found.roc_tpr), list(found.roc_thresholds))
    json.dumps(page.metadata, allow_nan=False)


def test_the_step_loads_no_training_framework(run_folder: Path) -> None:
    program = """
import sys
from pathlib import Path
from components.mnist.evaluation.step import evaluate_model
run = Path(sys.argv[1])
evaluate_model(model_folder=run / "model", test_folder=run / "test",
               metrics_folder=run / "metrics", predictions_folder=run / "predictions")
print(*{name.partition(".")[0] for name in sys.modules})
"""
    command = [sys.executable, "-c", program, str(run_folder)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(finished.stdout.splitlines()[-1].split())
    assert "onnxruntime" in loaded
    assert not {"tensorflow", "keras", "jax", "torch", "kfp"} & loaded


def test_a_model_of_other_classes_is_refused(run_folder: Path) -> None:
    change_json(run_folder / "model/model.json", classes=[*"abcdefghij"])
    with pytest.raises(ModelError, match=r"was trained on the classes a, b, .*, but .*test has 0, 1, "):
        evaluate(run_folder)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_data_that_made_the_model_is_refused(run_folder: Path, split: str) -> None:
    with pytest.raises(DataError, match=f"{split} is the {split} data of .*model, so its accuracy would be too high"):
        evaluate(run_folder, test=split)


def test_a_label_without_a_class_is_refused(run_folder: Path) -> None:
    labels = np.load(run_folder / "test/labels.npy")
    labels[7] = 10
    np.save(run_folder / "test/labels.npy", labels)
    with pytest.raises(DataError, match=r"labels\.npy has the label 10, but there are only 10 classes, from 0"):
        evaluate(run_folder)


def test_a_damaged_model_is_refused(run_folder: Path) -> None:
    content = (run_folder / "model/model.onnx").read_bytes()
    (run_folder / "model/model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded"):
        evaluate(run_folder)


def test_a_model_for_pictures_of_another_size_is_refused(run_folder: Path) -> None:
    write_linear_model(run_folder / "model/model.onnx", np.zeros((400, 10)), np.zeros(10))
    with pytest.raises(ModelError, match=r"model\.onnx cannot classify the images"):
        evaluate(run_folder)


@pytest.mark.parametrize("bias", [0.0, np.nan], ids=["scores", "not-a-number"])
def test_outputs_that_are_no_probabilities_are_refused(run_folder: Path, bias: float) -> None:
    weights = np.random.default_rng(0).normal(size=(784, 10))
    write_linear_model(run_folder / "model/model.onnx", weights, np.full(10, bias), softmax=bias != 0)
    with pytest.raises(ModelError, match="expected probabilities that add up to 1"):
        evaluate(run_folder)


@pytest.mark.parametrize("folder", ["model", "test"])
def test_a_missing_folder_is_named(run_folder: Path, folder: str) -> None:
    (run_folder / folder).rename(run_folder / "elsewhere")
    with pytest.raises((ModelError, DataError), match=f"{folder}: .*no m.*json"):
        evaluate(run_folder)


def test_a_refused_evaluation_leaves_the_last_one_untouched(run_folder: Path) -> None:
    before = evaluate(run_folder)
    change_json(run_folder / "model/model.json", classes=[*"abcdefghij"])
    with pytest.raises(ModelError, match="was trained on the classes"):
        evaluate(run_folder)
    assert read_evaluation(run_folder / "metrics") == before
    assert sorted(path.name for path in (run_folder / "metrics").iterdir()) == ["metrics.json"]
    assert sorted(path.name for path in (run_folder / "predictions").iterdir()) == ["probabilities.npy"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"confusion": [[1]]}', "<html>"])
def test_metrics_of_another_format_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json: .*Evaluate again with `mnist step evaluate`"):
        read_evaluation(tmp_path)


def test_predictions_that_do_not_fit_the_data_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "probabilities.npy", np.zeros((5, 10), np.float32))
    with pytest.raises(DataError, match=r"float32 \(5, 10\), but the test data needs float32 \(60, 10\)"):
        read_probabilities(tmp_path, count=60, classes=10)
