"""The evaluate step: measure the exported model on test images.

Reads a model folder and a test data set, writes `metrics.json` and `probabilities.npy`; needs only ONNX Runtime.
"""

import time
from pathlib import Path

import numpy as np

from components.mnist.data.datasets import BLOCK, Dataset, read_dataset
from components.mnist.errors import DataError, ModelError, reports_errors
from components.mnist.evaluation import metrics
from components.mnist.evaluation.results import Evaluation, identify_model, write_results
from components.mnist.model import Classifier, load_classifier
from components.mnist.progress import Progress, say

WARM_UP_IMAGES = 50
LATENCY_IMAGES = 1000  # one per call, after the warm-up
SUM_TOLERANCE = 1e-3  # of a row of probabilities; float32 needs less, and a larger error is no softmax


@reports_errors
def evaluate_model(
    *, model_folder: Path, test_folder: Path, metrics_folder: Path, predictions_folder: Path
) -> Evaluation:
    """Measure the exported model and write the results.

    Args:
        metrics_folder: Receives `metrics.json`, the `Evaluation`.
        predictions_folder: Receives `probabilities.npy`, float32 (n, classes), in the order of the test data.

    Raises:
        ModelError: The model is damaged, was trained on other classes, or does not return probabilities.
        DataError: The test data is damaged, or was used for training.
    """
    classifier = load_classifier(model_folder)
    test = read_dataset(test_folder)
    card, manifest = classifier.card, test.manifest
    if card.classes != manifest.classes:
        raise ModelError(
            f"{model_folder} was trained on the classes {', '.join(card.classes)}, but {test_folder} has "
            f"{', '.join(manifest.classes)}. Evaluate on data with the same classes in the same order."
        )
    for split in ("training", "validation"):
        if card.data.get(f"{split}_sha256") == manifest.sha256:
            raise DataError(
                f"{test_folder} is the {split} data of {model_folder}, so its accuracy would be too high. "
                "Evaluate on test data."
            )
    probabilities = _predict(classifier, test, model_folder)
    evaluation = _measure(
        test,
        probabilities,
        latencies_ms=_time_single_images(classifier, test.images),
        model_sha256=identify_model(model_folder),
    )
    write_results(metrics_folder, predictions_folder, evaluation, probabilities)
    say(
        f"{evaluation.correct:,} of {evaluation.count:,} test images correct: {evaluation.accuracy:.2%} "
        f"(95% interval {evaluation.accuracy_low:.2%} to {evaluation.accuracy_high:.2%})"
    )
    say(f"latency of one image: p50 {evaluation.latency_p50_ms:.3f} ms, p99 {evaluation.latency_p99_ms:.3f} ms")
    return evaluation


def _predict(classifier: Classifier, test: Dataset, model_folder: Path) -> np.ndarray:
    count = test.manifest.count
    progress = Progress(count, unit="images")
    probabilities = np.empty((count, len(test.manifest.classes)), np.float32)
    try:
        for start in range(0, count, BLOCK):
            probabilities[start : start + BLOCK] = classifier.probabilities(test.images[start : start + BLOCK])
            progress.update(min(start + BLOCK, count))
    except Exception as error:  # ONNX Runtime raises a different class for each cause
        raise ModelError(f"{model_folder}/model.onnx cannot classify the images ({error}). Train again.") from error
    sums = probabilities.sum(axis=1)
    # Negated, so that NaN is refused.
    if not (probabilities.min() >= 0 and np.abs(sums - 1).max() <= SUM_TOLERANCE):
        raise ModelError(
            f"{model_folder}/model.onnx returns numbers from {probabilities.min():.3g} to {probabilities.max():.3g} "
            f"that add up to {sums.min():.3g} to {sums.max():.3g} per image; expected probabilities that add up to 1. "
            "Train again."
        )
    return probabilities


def _time_single_images(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Time LATENCY_IMAGES calls with one image each, in milliseconds, float64; scaling the pixels is included."""
    images = np.array(images[:LATENCY_IMAGES])  # in memory, so that the disk is not measured
    seconds = np.empty(WARM_UP_IMAGES + LATENCY_IMAGES)
    for number in range(len(seconds)):
        image = images[number % len(images)][np.newaxis]  # uint8 (1, 28, 28)
        started = time.perf_counter()
        classifier.probabilities(image)
        seconds[number] = time.perf_counter() - started
    return seconds[WARM_UP_IMAGES:] * 1e3


def _measure(test: Dataset, probabilities: np.ndarray, *, latencies_ms: np.ndarray, model_sha256: str) -> Evaluation:
    labels, classes = test.labels, test.manifest.classes
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    low, high = metrics.interval(correct, len(labels))
    by_class = metrics.by_class(labels, predicted, classes=len(classes))
    bins = metrics.calibration(labels, probabilities)
    roc = metrics.micro_roc(labels, probabilities)
    p50, p99 = np.percentile(latencies_ms, [50, 99]).tolist()
    return Evaluation(
        count=len(labels),
        correct=correct,
        accuracy=correct / len(labels),
        accuracy_low=low,
        accuracy_high=high,
        loss=metrics.cross_entropy(labels, probabilities),
        macro_f1=by_class.macro_f1,
        calibration_error=bins.error,
        calibration_bins=len(bins.count),
        worst_class=classes[by_class.worst],
        worst_class_recall=float(by_class.recall[by_class.worst]),
        classes=classes,
        precision=tuple(by_class.precision.tolist()),
        recall=tuple(by_class.recall.tolist()),
        f1=tuple(by_class.f1.tolist()),
        support=tuple(by_class.support.tolist()),
        confusion=tuple(tuple(row) for row in metrics.confusion(labels, predicted, classes=len(classes)).tolist()),
        bin_count=tuple(bins.count.tolist()),
        bin_confidence=tuple(bins.confidence.tolist()),
        bin_accuracy=tuple(bins.accuracy.tolist()),
        bin_low=tuple(bins.low.tolist()),
        bin_high=tuple(bins.high.tolist()),
        roc_fpr=tuple(roc.fpr.tolist()),
        roc_tpr=tuple(roc.tpr.tolist()),
        roc_thresholds=tuple(roc.thresholds.tolist()),
        latency_p50_ms=p50,
        latency_p99_ms=p99,
        latency_images=len(latencies_ms),
        test_sha256=test.manifest.sha256,
        model_sha256=model_sha256,
    )
