"""Sentences that explain the metrics of an evaluation, and the alternative texts of charts.

Pure functions of values; know neither files, charts nor pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.mnist.evaluation.results import Evaluation

# Longest list of classes or epochs that is written in full; of a longer one, only both ends are.
LONGEST_LIST = 30
# Mean confidence and accuracy that differ by less count as equal: a percentage point is within the noise.
CALIBRATION_SLACK = 0.01


@dataclass(frozen=True)
class Confusion:
    """How many images of the class `true` were predicted as `predicted`."""

    true: str
    predicted: str
    count: int


def percent(share: float, digits: int = 2) -> str:
    """Format a share in percent; less than 1 is never rounded up to 100%, and more than 0 never down to 0%."""
    text, smallest = f"{share:.{digits}%}", 10.0**-digits
    if share < 1 and float(text[:-1]) == 100:
        return f">{100 - smallest:.{digits}f}%"
    if share > 0 and float(text[:-1]) == 0:
        return f"<{smallest:.{digits}f}%"
    return text


def frequent_confusions(evaluation: Evaluation, *, most: int) -> list[Confusion]:
    """List the pairs of classes that are confused most often, the most frequent first."""
    matrix = np.array(evaluation.confusion)
    np.fill_diagonal(matrix, 0)
    # Positions in the flattened matrix: row * classes + column.
    order = np.argsort(-matrix, axis=None, kind="stable")[:most]
    pairs = [divmod(position, len(matrix)) for position in order.tolist()]
    names = evaluation.classes
    return [Confusion(names[t], names[p], int(matrix[t, p])) for t, p in pairs if matrix[t, p]]


def say_where_it_fails(evaluation: Evaluation) -> str:
    """Name the most frequent mistakes and the weakest class."""
    mistakes = evaluation.count - evaluation.correct
    if not mistakes:
        return (
            f"No test image is misclassified; with {evaluation.count:,} images, the true accuracy may still be as low "
            f"as {percent(evaluation.accuracy_low)}."
        )
    first, *others = frequent_confusions(evaluation, most=3)
    weakest = (
        f"The weakest class is {evaluation.worst_class}, with a recall of {percent(evaluation.worst_class_recall, 1)} "
        f"on {evaluation.support[evaluation.classes.index(evaluation.worst_class)]:,} images."
    )
    if mistakes == 1:
        return f"The only mistake is {first.true} predicted as {first.predicted}. {weakest}"
    if first.count == 1:
        return f"The {mistakes:,} mistakes confuse {mistakes:,} different pairs of classes. {weakest}"
    then = " and ".join(f"{pair.true} as {pair.predicted} ({pair.count:,})" for pair in others if pair.count > 1)
    return (
        f"Of the {mistakes:,} mistakes, the most frequent is {first.true} predicted as {first.predicted} "
        f"({first.count:,} times){f', then {then}' if then else ''}. {weakest}"
    )


def say_how_calibrated(evaluation: Evaluation, *, label_smoothing: float) -> str:
    """Compare the mean confidence with the accuracy."""
    confidence = float(np.average(evaluation.bin_confidence, weights=evaluation.bin_count))
    gap = evaluation.accuracy - confidence
    if abs(gap) <= CALIBRATION_SLACK:
        verdict = "well calibrated on average"
    elif gap < 0:
        verdict = "over-confident"
    elif label_smoothing:
        verdict = f"under-confident, an effect of label smoothing ({label_smoothing:g})"
    else:
        verdict = "under-confident"
    return (
        f"The mean confidence is {percent(confidence, 1)} and the accuracy {percent(evaluation.accuracy, 1)}: "
        f"the model is {verdict}."
    )


def describe_curve(
    name: str, training: Sequence[float], validation: Sequence[float], *, best_epoch: int, shares: bool
) -> str:
    """Return the alternative text of a metric by epoch."""
    write = percent if shares else "{:.3f}".format
    lines = [f"{name} by epoch, {len(training)} in all, epoch {best_epoch} was kept."]
    for split, values in (("Training", training), ("Validation", validation)):
        texts = [write(value) for value in values]
        if len(texts) > LONGEST_LIST:
            texts = [f"from {texts[0]} to {texts[-1]}, at the kept epoch {texts[best_epoch - 1]}"]
        lines.append(f"{split}: {', '.join(texts)}.")
    return " ".join(lines)


def describe_confusion(evaluation: Evaluation) -> str:
    """Return the alternative text of the confusion matrix."""
    pairs = [f"{pair.true} as {pair.predicted}: {pair.count:,}" for pair in frequent_confusions(evaluation, most=10)]
    return (
        f"Confusion matrix of {len(evaluation.classes)} classes: {evaluation.correct:,} of {evaluation.count:,} on the "
        f"diagonal. " + (f"Most frequent mistakes: {'; '.join(pairs)}." if pairs else "No mistakes.")
    )


def describe_by_class(evaluation: Evaluation) -> str:
    """Return the alternative text of precision and recall by class, the lowest recall first."""
    rows = sorted(zip(evaluation.classes, evaluation.recall, evaluation.precision, strict=True), key=lambda row: row[1])
    texts = [f"{name}: {percent(recall, 1)} and {percent(precision, 1)}" for name, recall, precision in rows]
    return f"Recall and precision by class. {_list(texts)}."


def describe_calibration(evaluation: Evaluation) -> str:
    """Return the alternative text of the reliability diagram."""
    bins = zip(evaluation.bin_confidence, evaluation.bin_accuracy, evaluation.bin_count, strict=True)
    texts = [
        f"confidence {percent(confidence, 0)}, accuracy {percent(accuracy, 1)} ({count:,})"
        for confidence, accuracy, count in bins
        if count
    ]
    return (
        f"Accuracy by confidence in {evaluation.calibration_bins} bins, with the number of images. {'; '.join(texts)}."
    )


def describe_balance(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> str:
    """Return the alternative text of the class balance."""
    rows = zip(classes, *counts.values(), strict=True)
    texts = [f"{name}: {', '.join(f'{number:,}' for number in numbers)}" for name, *numbers in rows]
    return f"Images by class, for {', '.join(counts)}. {_list(texts)}."


def _list(texts: Sequence[str]) -> str:
    if len(texts) <= LONGEST_LIST:
        return "; ".join(texts)
    return f"{'; '.join(texts[:5])}; and so on to {'; '.join(texts[-5:])}"
