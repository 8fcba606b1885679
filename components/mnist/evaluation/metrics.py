"""Metrics of a classifier's predictions: pure functions of labels and probabilities.

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
        """Mean F1 of the classes that occur in the labels; each has the same weight."""
        return float(self.f1[self.support > 0].mean())

    @property
    def worst(self) -> int:
        """Number of the class with the lowest recall, among those that occur in the labels."""
        return int(np.where(self.support > 0, self.recall, np.inf).argmin())


@dataclass(frozen=True)
class Bins:
    """Predictions by confidence, in bins of equal width over 0..1; empty bins hold 0.

    Attributes:
        count: int64 (bins,).
        confidence: float64 (bins,), mean probability of the predicted class.
        accuracy: float64 (bins,), share of correct predictions.
        low, high: float64 (bins,), the 95% interval of the accuracy; 0 and 1 where a bin is empty.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance between confidence and accuracy, each bin weighted by its count."""
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.count))


@dataclass(frozen=True)
class Curve:
    """A ROC curve: float64 (points,) each; rates rise from 0 to 1, thresholds fall and lie in 0..1."""

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


def interval(correct: int, count: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of a share; it lies within 0..1 and is accurate near both ends."""
    low, high = binomtest(correct, count).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(low), float(high)


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative log of the probability of the true class."""
    # scikit-learn clips at float32's machine epsilon, as Keras does, so that a probability of 0 stays finite.
    return float(log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


def confusion(labels: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """Return the confusion matrix: int64 (classes, classes), a row per true class, a column per predicted class."""
    return confusion_matrix(labels, predicted, labels=np.arange(classes))


def by_class(labels: np.ndarray, predicted: np.ndarray, *, classes: int) -> ByClass:
    """Compute precision, recall, F1 and support of each class."""
    return ByClass(*precision_recall_fscore_support(labels, predicted, labels=np.arange(classes), zero_division=0))


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> Bins:
    """Compare confidence with accuracy, by bin of confidence."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    is_correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)  # 1.0 is in the last bin
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    correct = np.bincount(bins, weights=is_correct, minlength=CALIBRATION_BINS)
    confidence_sums = np.bincount(bins, weights=confidence, minlength=CALIBRATION_BINS)
    intervals = [interval(int(c), int(n)) if n else (0.0, 1.0) for c, n in zip(correct, count, strict=True)]
    divisor = np.maximum(count, 1)  # an empty bin has sums of 0
    return Bins(count, confidence_sums / divisor, correct / divisor, *np.array(intervals).T)


def micro_roc(labels: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Compute the micro-average ROC curve: each pair of image and class is one binary prediction.

    At most ROC_POINTS points are kept, evenly spaced along the curve, both ends included.
    """
    truth = labels[:, np.newaxis] == np.arange(probabilities.shape[1])  # bool (n, classes)
    fpr, tpr, thresholds = roc_curve(truth.ravel(), probabilities.ravel())
    # Rates only rise, so the distance along the curve to each point is the sum of both rates.
    length = np.concatenate([[0.0], np.cumsum(np.diff(fpr) + np.diff(tpr))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], ROC_POINTS)).clip(max=len(length) - 1))
    # scikit-learn's first threshold is infinite, which KFP refuses; no probability is above 1 anyway.
    return Curve(fpr[kept], tpr[kept], np.clip(thresholds[kept].astype(np.float64), 0.0, 1.0))
