"""The results of evaluation on disk: `metrics.json` and `probabilities.npy`.

Knows neither models nor metrics, so that reading results loads no statistics library.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.mnist.errors import DataError, ModelError
from components.mnist.files import replacing


@dataclass(frozen=True)
class Evaluation:
    """The content of metrics.json, in plain Python values.

    Attributes:
        count, correct: Number of test images, and of correct predictions.
        accuracy, accuracy_low, accuracy_high: Share of correct predictions, and its 95% Wilson interval.
        loss: Cross-entropy, without smoothing.
        macro_f1: Mean F1 of the classes in the test data.
        calibration_error: Expected calibration error over `calibration_bins` bins of equal width.
        worst_class, worst_class_recall: The class with the lowest recall.
        classes: Name of each class; the following five fields are in this order.
        precision, recall, f1: By class, 0 where undefined.
        support: Test images of each class.
        confusion: A row per true class, a column per predicted class.
        bin_count, bin_confidence, bin_accuracy, bin_low, bin_high: The reliability diagram: predictions by confidence,
            in `calibration_bins` bins of equal width over 0..1; the accuracy of a bin has a 95% interval.
        roc_fpr, roc_tpr, roc_thresholds: Micro-average ROC, at most 200 points, finite.
        latency_p50_ms, latency_p99_ms: Time for one image, over `latency_images` calls with one image each, after a
            warm-up.
        test_sha256: Hash of the test data.
        model_sha256: Hash of model.onnx.
    """

    count: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    macro_f1: float
    calibration_error: float
    calibration_bins: int
    worst_class: str
    worst_class_recall: float
    classes: tuple[str, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]
    bin_count: tuple[int, ...]
    bin_confidence: tuple[float, ...]
    bin_accuracy: tuple[float, ...]
    bin_low: tuple[float, ...]
    bin_high: tuple[float, ...]
    roc_fpr: tuple[float, ...]
    roc_tpr: tuple[float, ...]
    roc_thresholds: tuple[float, ...]
    latency_p50_ms: float
    latency_p99_ms: float
    latency_images: int
    test_sha256: str
    model_sha256: str

    def scalars(self) -> dict[str, float | int | str]:
        """Return the values that pipeline pages show: all but the lists."""
        return {name: value for name, value in asdict(self).items() if not isinstance(value, tuple)}


def write_results(
    metrics_folder: Path, predictions_folder: Path, evaluation: Evaluation, probabilities: np.ndarray
) -> None:
    """Write both files, and only then replace the old ones; metrics.json comes last.

    Args:
        probabilities: float32 (n, classes), in the order of the test data.
    """
    with (
        replacing(metrics_folder / "metrics.json") as new_metrics,
        replacing(predictions_folder / "probabilities.npy") as new_probabilities,
    ):
        np.save(new_probabilities, probabilities)
        new_metrics.write_text(json.dumps(asdict(evaluation), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_evaluation(metrics_folder: Path) -> Evaluation:
    """Read `metrics.json`.

    Raises:
        DataError: The file is missing, or was not written by this version of the project.
    """
    path = metrics_folder / "metrics.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields["confusion"] = [tuple(row) for row in fields["confusion"]]
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        return Evaluation(**fields)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; expected the file that `mnist step evaluate` writes.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: {error}. Evaluate again with `mnist step evaluate`.") from error


def read_probabilities(predictions_folder: Path, *, count: int, classes: int) -> np.ndarray:
    """Read `probabilities.npy`: float32 (count, classes).

    Raises:
        DataError: The file is missing, unreadable, or of another shape.
    """
    path = predictions_folder / "probabilities.npy"
    try:
        probabilities = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; expected the file that `mnist step evaluate` writes.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: {error}. Evaluate again with `mnist step evaluate`.") from error
    if probabilities.shape != (count, classes) or probabilities.dtype != np.float32:
        raise DataError(
            f"{path}: {probabilities.dtype} {probabilities.shape}, but the test data needs float32 {(count, classes)}. "
            "Evaluate this test data with `mnist step evaluate`."
        )
    return probabilities


def identify_model(model_folder: Path) -> str:
    """Return the sha256 of model.onnx: models with the same hash give the same predictions.

    Raises:
        ModelError: model.onnx is missing or cannot be read.
    """
    try:
        return hashlib.sha256((model_folder / "model.onnx").read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{model_folder / 'model.onnx'} cannot be read ({error.strerror}). Train again.") from error
