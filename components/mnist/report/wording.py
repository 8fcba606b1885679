"""What the figures of an evaluation say, in words, and which pictures show it best.

Pure functions of values; knows neither files, charts nor pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.mnist.evaluation.results import Evaluation

# Classes or epochs that a sentence names one by one; beyond it, it names the ends.
LONGEST_LIST = 30
# Closer than this, being sure and being right count as the same: a point of a percentage is within the noise.
CALIBRATION_SLACK = 0.01


@dataclass(frozen=True)
class Confusion:
    """Images of the class `true` that were answered with `answer`: how many."""

    true: str
    answer: str
    count: int


def percent(share: float, digits: int = 2) -> str:
    """A share in percent; what is not all is never rounded up to 100%, nor what is not nothing down to 0%."""
    text, smallest = f"{share:.{digits}%}", 10.0**-digits
    if share < 1 and float(text[:-1]) == 100:
        return f">{100 - smallest:.{digits}f}%"
    if share > 0 and float(text[:-1]) == 0:
        return f"<{smallest:.{digits}f}%"
    return text


def frequent_confusions(evaluation: Evaluation, *, most: int) -> list[Confusion]:
    """The pairs of classes that are mistaken most often, the most frequent first."""
    matrix = np.array(evaluation.confusion)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:most]
    pairs = [(number // len(matrix), number % len(matrix)) for number in order.tolist()]
    names = evaluation.classes
    return [Confusion(names[t], names[a], int(matrix[t, a])) for t, a in pairs if matrix[t, a]]


def worst_mistakes(labels: np.ndarray, probabilities: np.ndarray, *, most: int) -> np.ndarray:
    """Numbers of the images that were answered wrongly, int64, those with the surest wrong answer first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:most]


def spread_samples(labels: np.ndarray, *, most: int) -> np.ndarray:
    """Numbers of images, int64, spread evenly over the classes without looking at the answers, sorted by class."""
    by_class = np.argsort(labels, kind="stable")
    return by_class[np.unique(np.linspace(0, len(labels) - 1, min(most, len(labels))).astype(int))]


def say_where_it_fails(evaluation: Evaluation) -> str:
    """Name the most frequent mistakes and the weakest class."""
    mistakes = evaluation.count - evaluation.correct
    if not mistakes:
        return (
            f"Not one of {evaluation.count:,} test images is answered wrongly; "
            f"that many leave room for a true accuracy down to {percent(evaluation.accuracy_low)}."
        )
    first, *others = frequent_confusions(evaluation, most=3)
    weakest = (
        f"The weakest class is {evaluation.worst_class}: {percent(evaluation.worst_class_recall, 1)} of its "
        f"{evaluation.support[evaluation.classes.index(evaluation.worst_class)]:,} images are recognised."
    )
    if mistakes == 1:
        return f"The one mistake: {first.true} is taken for {first.answer}. {weakest}"
    if first.count == 1:
        return f"No two of the {mistakes:,} mistakes are alike. {weakest}"
    then = " and ".join(f"{pair.true} for {pair.answer} ({pair.count:,})" for pair in others if pair.count > 1)
    return (
        f"Of the {mistakes:,} mistakes, the most frequent is {first.true} taken for {first.answer} "
        f"({first.count:,} times){f', then {then}' if then else ''}. {weakest}"
    )


def say_how_calibrated(evaluation: Evaluation, *, label_smoothing: float) -> str:
    """Compare how sure the answers are on average with how many are right."""
    sure = float(np.average(evaluation.bin_confidence, weights=evaluation.bin_count))
    gap = evaluation.accuracy - sure
    text = f"On average an answer is {percent(sure, 1)} sure, and {percent(evaluation.accuracy, 1)} are right: "
    if abs(gap) <= CALIBRATION_SLACK:
        return text + "as sure as it should be."
    if gap < 0:
        return text + "it claims more than it knows."
    return text + (
        f"it claims less than it knows, as label smoothing ({label_smoothing:g}) teaches it to."
        if label_smoothing
        else "it claims less than it knows."
    )


def describe_curve(
    name: str, training: Sequence[float], validation: Sequence[float], *, best_epoch: int, shares: bool
) -> str:
    """The alternative text of a curve by epoch."""
    write = percent if shares else "{:.3f}".format
    epochs = f"{name} by epoch, {len(training)} in all, epoch {best_epoch} was kept."
    lines = []
    for split, values in (("Training", training), ("Validation", validation)):
        texts = [write(value) for value in values]
        if len(texts) > LONGEST_LIST:
            texts = [f"from {texts[0]} to {texts[-1]}, at the kept epoch {texts[best_epoch - 1]}"]
        lines.append(f"{split}: {', '.join(texts)}.")
    return " ".join([epochs, *lines])


def describe_confusion(evaluation: Evaluation) -> str:
    """The alternative text of the confusion matrix."""
    pairs = [f"{p.true} as {p.answer}: {p.count:,}" for p in frequent_confusions(evaluation, most=10)]
    return (
        f"Confusion matrix of {len(evaluation.classes)} classes: {evaluation.correct:,} of {evaluation.count:,} on the "
        f"diagonal. " + (f"Most frequent mistakes: {'; '.join(pairs)}." if pairs else "No mistakes.")
    )


def describe_by_class(evaluation: Evaluation) -> str:
    """The alternative text of precision and recall by class, the lowest recall first."""
    rows = sorted(zip(evaluation.classes, evaluation.recall, evaluation.precision, strict=True), key=lambda row: row[1])
    texts = [f"{name}: {percent(recall, 1)} and {percent(precision, 1)}" for name, recall, precision in rows]
    return f"Recall and precision by class. {_list(texts)}."


def describe_calibration(evaluation: Evaluation) -> str:
    """The alternative text of the reliability diagram."""
    bins = zip(evaluation.bin_confidence, evaluation.bin_accuracy, evaluation.bin_count, strict=True)
    texts = [f"{percent(sure, 0)} sure, {percent(right, 1)} right ({count:,})" for sure, right, count in bins if count]
    return (
        f"How sure answers are against how many are right, in {evaluation.calibration_bins} bins. {'; '.join(texts)}."
    )


def describe_balance(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> str:
    """The alternative text of the class balance."""
    rows = zip(classes, *counts.values(), strict=True)
    texts = [f"{name}: {', '.join(f'{number:,}' for number in numbers)}" for name, *numbers in rows]
    return f"Images by class, for {', '.join(counts)}. {_list(texts)}."


def _list(texts: Sequence[str]) -> str:
    if len(texts) <= LONGEST_LIST:
        return "; ".join(texts)
    return f"{'; '.join(texts[:5])}; and so on to {'; '.join(texts[-5:])}"
