"""Convert labels of any usual form to class numbers from 0."""

import numpy as np

from components.mnist.data.arrays import StoredArray
from components.mnist.errors import DataError

MOST_CLASSES = 256  # a label is stored in one byte
UNIQUE = "numpy.unique(labels, return_inverse=True)[1]"
RENUMBER = f"Number the classes from 0 without gaps: {UNIQUE}."


def read_labels(array: StoredArray) -> np.ndarray:
    """Read labels written as integers, whole floats, a column (n, 1), or one-hot rows (n, classes).

    Returns:
        int64 (n,).

    Raises:
        DataError: A label is fractional, negative, or a row is not one-hot.
    """
    columns = array.shape[1] if len(array.shape) == 2 else 1
    if len(array.shape) > 2 or columns > MOST_CLASSES:
        raise DataError(
            f"{array.name}: labels of shape {array.shape}; expected (n,) with class numbers from 0, or one-hot "
            f"(n, classes) with at most {MOST_CLASSES} classes. Are images and labels swapped?"
        )
    labels = np.empty(array.count, np.int64)
    start = 0
    for block in array.blocks():
        stop = start + len(block)
        labels[start:stop] = (
            _from_one_hot(array.name, block, start) if columns > 1 else _from_numbers(array.name, block.reshape(-1))
        )
        start = stop
    return labels


def _from_one_hot(name: str, rows: np.ndarray, start: int) -> np.ndarray:
    good = ((rows == 0) | (rows == 1)).all(axis=1) & (rows.sum(axis=1) == 1)
    if not good.all():
        bad = int(np.argmin(good))
        values = " ".join(f"{value:g}" for value in rows[bad, :10]) + " ..." * (rows.shape[1] > 10)
        raise DataError(
            f"{name}: row {start + bad} is [{values}]; expected one-hot, a single 1 among zeros. "
            "Give class numbers from 0 instead: numpy.argmax(labels, axis=1)."
        )
    return rows.argmax(axis=1)


def _from_numbers(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        bad = values[~np.isfinite(values) | (values != np.floor(values))]
        if bad.size:
            raise DataError(
                f"{name}: has the label {bad[0]:g}; expected whole class numbers from 0. "
                "Are these scores or a regression target? Give the class of each image."
            )
    outside = values[(values < 0) | (values > np.iinfo(np.int32).max)]
    if outside.size:
        raise DataError(f"{name}: has the label {outside[0]:g}; expected class numbers from 0. {RENUMBER}")
    return values.astype(np.int64)


def count_classes(name: str, training: np.ndarray, test: np.ndarray) -> int:
    """Count the classes, after checking that the training images cover all of them.

    Args:
        name: Name of the source, for messages.
        training: int64 (n,), not negative.
        test: int64 (m,), not negative; may be empty where the source has no test split.

    Raises:
        DataError: Labels do not start at 0, leave gaps, are too many or all the same, or the test has others.
    """
    counts = np.bincount(training[training < MOST_CLASSES], minlength=1)
    highest = int(training.max())
    if counts[0] == 0:
        smallest = int(training.min())
        fits_shifted = highest - smallest < MOST_CLASSES
        advice = f"Subtract {smallest} from all labels, or use {UNIQUE}." if fits_shifted else RENUMBER
        raise DataError(f"{name}: labels run from {smallest} to {highest}; expected class numbers from 0. {advice}")
    if highest >= MOST_CLASSES:
        raise DataError(f"{name}: has the label {highest}; at most {MOST_CLASSES} classes, 0 to 255, fit. {RENUMBER}")
    if highest == 0:
        raise DataError(
            f"{name}: every training image has the label 0; expected at least two classes. Is part of the data missing?"
        )
    if missing := np.flatnonzero(counts == 0).tolist():
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"{name}: labels go up to {highest} but no training image has {', '.join(map(str, missing[:5]))}{more}; "
            f"expected images of every class. {RENUMBER}"
        )
    if test.size and int(test.max()) > highest:
        raise DataError(
            f"{name}: a test image has the label {int(test.max())} but training labels end at {highest}; "
            "expected the same classes in both. Take the class out of the test or add it to training."
        )
    return highest + 1
