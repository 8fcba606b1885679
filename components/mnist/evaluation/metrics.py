"""How good a classifier's answers are: pure functions of labels and probabilities.

Knows neither files nor models. Labels are class numbers from 0, integers (n,); probabilities are float32
(n, classes), each row adding up to 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, roc_curve

CONFIDENCE_LEVEL = 0.95
CALIBRATION_BINS = 10
ROC_POINTS = 200  # at most: pipeline pages keep the curve in an artifact's metadata


@dataclass(frozen=True)
class ByClass:
    """Precision, recall and F1, float64 (classes,), 0 where undefined; support, int64 (classes,): images of each."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that the labels hold, each counting the same."""
        return float(self.f1[self.support > 0].mean())

    @property
    def worst(self) -> int:
        """Number of the class with the lowest recall, among those that the labels hold."""
        return int(np.where(self.support > 0, self.recall, np.inf).argmin())


@dataclass(frozen=True)
class Bins:
    """Answers sorted by confidence into bins of equal width over 0..1; empty bins hold 0.

    Attributes:
        count: int64 (bins,).
        confidence: float64 (bins,), mean probability of the class that was chosen.
        accuracy: float64 (bins,), share that was right.
        low, high: float64 (bins,), the 95% interval of that share; 0 and 1 where a bin is empty.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, each bin weighted by its count."""
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.count))


@dataclass(frozen=True)
class Curve:
    """A ROC curve: float64 (points,) each; rates rise from 0 to 1, thresholds fall and lie in 0..1."""

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: it stays within 0..1 and is honest near both ends."""
    low, high = binomtest(right, count).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(low), float(high)


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log of the probability of the true class, kept finite by float32's smallest step, as in Keras."""
    return float(log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


def confusion(labels: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """Count pairs of classes: int64 (classes, classes), a row per true class, a column per answer."""
    return confusion_matrix(labels, predicted, labels=np.arange(classes))


def by_class(labels: np.ndarray, predicted: np.ndarray, *, classes: int) -> ByClass:
    """Measure each class on its own."""
    return ByClass(*precision_recall_fscore_support(labels, predicted, labels=np.arange(classes), zero_division=0))


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> Bins:
    """Compare how sure the answers are with how often they are right."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    is_right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    count = np.bincount(places, minlength=CALIBRATION_BINS)
    right = np.bincount(places, weights=is_right, minlength=CALIBRATION_BINS)
    sure = np.bincount(places, weights=confidence, minlength=CALIBRATION_BINS)
    intervals = [interval(int(r), int(n)) if n else (0.0, 1.0) for r, n in zip(right, count, strict=True)]
    filled = np.maximum(count, 1)
    return Bins(count, sure / filled, right / filled, *np.array(intervals).T)


def micro_roc(labels: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Micro-average ROC: every pair of image and class is one yes-or-no question.

    At most ROC_POINTS points are kept, evenly spaced along the curve, its ends included.
    """
    truth = labels[:, np.newaxis] == np.arange(probabilities.shape[1])
    fpr, tpr, thresholds = roc_curve(truth.ravel(), probabilities.ravel())
    length = np.concatenate([[0.0], np.cumsum(np.diff(fpr) + np.diff(tpr))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], ROC_POINTS)).clip(max=len(length) - 1))
    # scikit-learn opens with an infinite threshold, which no pipeline page takes; above 1 there are no answers anyway.
    return Curve(fpr[kept], tpr[kept], np.clip(thresholds[kept].astype(np.float64), 0.0, 1.0))
