"""Metrics of predictions, against numbers computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from components.mnist.evaluation import metrics

PROBABILITIES = np.array([[0.92, 0.08], [0.8, 0.2], [0.75, 0.25], [0.05, 0.95]], np.float32)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"), [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (9938, 10000, 0.99206, 0.99516)]
)
def test_the_interval_is_wilsons(correct: int, count: int, low: float, high: float) -> None:
    assert metrics.interval(correct, count) == pytest.approx((low, high), abs=1e-4)


def test_cross_entropy_is_the_mean_negative_log_of_the_true_class() -> None:
    labels = np.array([0, 0, 1, 1], np.uint8)
    expected = -np.log([0.92, 0.8, 0.25, 0.95]).mean()
    assert metrics.cross_entropy(labels, PROBABILITIES) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_stays_finite_when_the_true_class_has_probability_0() -> None:
    assert 10 < metrics.cross_entropy(np.array([1], np.uint8), np.array([[1, 0]], np.float32)) < 20


def test_calibration_compares_confidence_with_accuracy() -> None:
    bins = metrics.calibration(np.array([0, 0, 1, 1], np.uint8), PROBABILITIES)
    assert bins.count.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 2]
    assert bins.confidence[[7, 8, 9]] == pytest.approx([0.75, 0.8, 0.935])
    assert bins.accuracy[[7, 8, 9]] == pytest.approx([0, 1, 1])
    assert bins.error == pytest.approx((0.75 + 0.2 + 2 * 0.065) / 4)
    assert (bins.low <= bins.accuracy).all()
    assert (bins.accuracy <= bins.high).all()


def test_a_class_that_the_test_data_lacks_is_neither_the_worst_nor_counted_in_the_mean() -> None:
    by_class = metrics.by_class(np.array([0, 0, 1, 1], np.uint8), np.array([0, 0, 1, 0]), classes=3)
    assert by_class.support.tolist() == [2, 2, 0]
    assert by_class.worst == 1
    assert by_class.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_roc_curve_is_short_finite_and_has_the_area_of_the_whole_one() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 3000)
    scores = random.random((3000, 5)) + 0.4 * np.eye(5)[labels]
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    curve = metrics.micro_roc(labels, probabilities)
    assert 50 < len(curve.fpr) <= metrics.ROC_POINTS
    for values in (curve.fpr, curve.tpr, curve.thresholds):
        assert np.isfinite(values).all()
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.fpr) >= 0).all()
    assert (np.diff(curve.thresholds) <= 0).all()
    whole = roc_auc_score(np.eye(5)[labels].ravel(), probabilities.ravel())
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(whole, abs=1e-3)
