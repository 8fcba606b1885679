"""Test images with their predictions: the choice of those to show, and grids of them.

Knows neither files nor pages.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from components.mnist.report import charts
from components.mnist.report.run import Run
from components.mnist.report.wording import percent

MOST_PICTURES = 24  # of each kind
LONGEST_CAPTION = 9  # characters of a class name below a picture of a grid


@dataclass(frozen=True)
class Picture:
    """A test image with its prediction.

    Attributes:
        number: Its position in the test data, from 0.
        image: uint8 (28, 28), ink is 255.
        predicted, confidence: The predicted class and its probability.
        second, second_probability: The class with the second highest probability.
        true, true_probability: The true class and its probability.
    """

    number: int
    image: np.ndarray
    predicted: str
    confidence: float
    second: str
    second_probability: float
    true: str
    true_probability: float

    @property
    def is_wrong(self) -> bool:
        """Whether the prediction is wrong."""
        return self.predicted != self.true


def confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, *, most: int) -> np.ndarray:
    """Choose misclassified images, the most confident first.

    Args:
        labels: uint8 (n,).
        probabilities: float32 (n, classes).

    Returns:
        Positions, int64 (at most `most`,).
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:most]


def spread_samples(labels: np.ndarray, *, most: int) -> np.ndarray:
    """Choose images spread evenly over the classes, without looking at the predictions.

    Returns:
        Positions sorted by class, int64 (at most `most`,).
    """
    by_class = np.argsort(labels, kind="stable")
    return by_class[np.unique(np.linspace(0, len(labels) - 1, min(most, len(labels))).astype(int))]


def show_pictures(run: Run) -> dict[str, list[Picture]]:
    """Choose the pictures to show: "mistakes", the most confident first, and "samples", right or wrong."""
    labels, probabilities = run.test.labels, run.probabilities
    return {
        "mistakes": _look_up(run, confident_mistakes(labels, probabilities, most=MOST_PICTURES)),
        "samples": _look_up(run, spread_samples(labels, most=MOST_PICTURES)),
    }


def draw_grid(pictures: list[Picture]) -> Figure:
    """Draw pictures with their predictions as one chart."""
    captions = []
    for picture in pictures:
        names = (picture.true, picture.predicted, picture.second)
        true, predicted, second = (charts.shorten(name, longest=LONGEST_CAPTION) for name in names)
        confidence, second_probability = percent(picture.confidence, 1), percent(picture.second_probability, 1)
        captions.append(
            f"{true} → {predicted}\n{confidence}"
            if picture.is_wrong
            else f"{predicted}  {confidence}\nthen {second} {second_probability}"
        )
    images = np.array([picture.image for picture in pictures], np.uint8)
    return charts.draw_pictures(images, captions, wrong=[picture.is_wrong for picture in pictures])


def _look_up(run: Run, numbers: np.ndarray) -> list[Picture]:
    classes = run.evaluation.classes
    pictures = []
    for number in numbers.tolist():
        row, true = run.probabilities[number], int(run.test.labels[number])
        # A stable sort of the negatives ranks equal probabilities as argmax does.
        first, second = np.argsort(-row, kind="stable")[:2].tolist()
        pictures.append(
            Picture(
                number=number,
                image=run.test.images[number],
                predicted=classes[first],
                confidence=float(row[first]),
                second=classes[second],
                second_probability=float(row[second]),
                true=classes[true],
                true_probability=float(row[true]),
            )
        )
    return pictures
