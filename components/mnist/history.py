"""The training history on disk: `history.csv`, one line per epoch; written by training, read by the report."""

import csv
import math
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from components.mnist.errors import DataError


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv.

    Attributes:
        epoch: From 1.
        loss, accuracy: Means over the epoch's training batches, with augmented (shifted) images; the cross-entropy is
            without label smoothing, so that it can be compared with `val_loss`.
        val_loss, val_accuracy: On validation data, with the weights at the end of the epoch.
        learning_rate: At the end of the epoch.
        seconds: Validation included.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


COLUMNS = tuple(field.name for field in fields(Epoch))


def write_history(folder: Path, epochs: list[Epoch]) -> None:
    """Write `history.csv` into the folder."""
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(map(asdict, epochs))


def read_history(folder: Path) -> list[Epoch]:
    """Read `history.csv`: at least one epoch, in order.

    Raises:
        DataError: The file is missing, empty, or contains anything but finite numbers.
    """
    path = folder / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(file)]
        epochs = [Epoch(**{**row, "epoch": int(row["epoch"])}) for row in rows]  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; expected the history that `mnist step train` writes.") from error
    except (OSError, ValueError, OverflowError, TypeError, KeyError, csv.Error) as error:
        raise DataError(f"{path}: {error}; expected numbers in {', '.join(COLUMNS)}. Train again.") from error
    if not epochs or not all(math.isfinite(value) for epoch in epochs for value in astuple(epoch)):
        raise DataError(f"{path}: {len(epochs)} epochs; expected at least one, and finite numbers only. Train again.")
    return epochs
