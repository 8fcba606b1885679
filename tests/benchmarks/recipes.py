"""Compare recipes on validation data: where the pipeline's defaults come from. The test sets are never opened.

    python tests/benchmarks/recipes.py              # writes results/recipes.csv; half an hour on 2 cores
    python tests/benchmarks/recipes.py "no shift"   # this one only; adds its lines to the file

One line a training: each recipe on MNIST (54,000 images for training, 6,000 for validation) and on five splits of the
sample (1,150 and 287). A recipe is what it changes in the base.
"""

import csv
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

from components.mnist.data.datasets import read_dataset
from components.mnist.data.step import ingest_data
from components.mnist.training import devices

devices.quieten()

import keras  # noqa: E402

from components.mnist.model import scale  # noqa: E402
from components.mnist.training import batches as batches_module  # noqa: E402
from components.mnist.training.batches import Batches  # noqa: E402
from components.mnist.training.fitting import fit_network  # noqa: E402
from components.mnist.training.network import build_network  # noqa: E402
from components.mnist.training.step import choose_batch_size  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "recipes.csv"
BASE = {"epochs": 5, "batch_size": 128, "learning_rate": 0.008, "label_smoothing": 0.05, "shift": 1}
# What is no parameter of the pipeline has a name that is none: betas of Adam, share of warm-up, normalised pixels.
RECIPES: dict[str, dict] = {
    "base": {},
    "learning rate 0.002": {"learning_rate": 0.002},
    "learning rate 0.004": {"learning_rate": 0.004},
    "learning rate 0.016": {"learning_rate": 0.016},
    "batch 64, learning rate 0.004": {"batch_size": 64, "learning_rate": 0.004},
    "Adam's betas 0.85, 0.99": {"betas": (0.85, 0.99)},
    "no smoothing": {"label_smoothing": 0.0},
    "no smoothing, betas 0.85, 0.99": {"label_smoothing": 0.0, "betas": (0.85, 0.99)},
    "no smoothing, betas, learning rate 0.012": {
        "label_smoothing": 0.0,
        "betas": (0.85, 0.99),
        "learning_rate": 0.012,
    },
    "the defaults": {"label_smoothing": 0.0, "betas": (0.85, 0.99), "batch_size": 0},
    "no shift": {"shift": 0},
    "shift 2": {"shift": 2},
    "normalised pixels": {"normalised": True},
}
RUNS = {"mnist": (0.1, [0]), "sample": (0.2, [0, 1, 2, 3, 4])}  # validation_fraction, seeds of split and training


def main() -> None:
    """Train the recipes that are named, or all, and write a line after each training."""
    names = sys.argv[1:]
    RESULTS.parent.mkdir(exist_ok=True)
    with (
        RESULTS.open("a" if names else "w", encoding="utf-8", newline="") as file,
        tempfile.TemporaryDirectory() as folder,
    ):
        writer = csv.writer(file, lineterminator="\n")
        if not names:
            writer.writerow(["source", "recipe", "seed", "validation_accuracy", "validation_loss", "kept_epoch"])
        for source, (fraction, seeds) in RUNS.items():
            for seed in seeds:
                split(source, fraction, seed, Path(folder))
            for name in names or RECIPES:
                change = RECIPES[name]
                found = [train(Path(folder) / f"{source}-{seed}", seed=seed, **(BASE | change)) for seed in seeds]
                for seed, (accuracy, loss, epoch) in zip(seeds, found, strict=True):
                    writer.writerow([source, name, seed, f"{accuracy:.5f}", f"{loss:.5f}", epoch])
                file.flush()
                accuracy, loss = (statistics.fmean(figures[column] for figures in found) for column in (0, 1))
                print(f"== {source}  {name}: validation accuracy {accuracy:.2%}, loss {loss:.4f}", flush=True)


def split(source: str, fraction: float, seed: int, folder: Path) -> None:
    """Make the data sets of one seed."""
    parts = {f"{part}_folder": folder / f"{source}-{seed}" / part for part in ("training", "validation", "test")}
    ingest_data(source=source, polarity="auto", validation_fraction=fraction, test_fraction=0.2, seed=seed, **parts)


def train(
    data: Path,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    label_smoothing: float,
    shift: int,
    betas: tuple[float, float] = (0.9, 0.999),
    normalised: bool = False,
) -> tuple[float, float, int]:
    """Accuracy and loss of the kept epoch on validation data, and its number."""
    training, validation = read_dataset(data / "training"), read_dataset(data / "validation")
    devices.make_repeatable(seed)
    with changed(betas, normalised=normalised):
        fit = fit_network(
            build_network(len(training.manifest.classes), precision="float32"),
            Batches(training, batch_size=batch_size or choose_batch_size(len(training.labels)), shift=shift, seed=seed),
            Batches(validation, batch_size=512, shift=0, seed=None),
            epochs=epochs,
            learning_rate=learning_rate,
            label_smoothing=label_smoothing,
        )
    kept = fit.epochs[fit.best_epoch - 1]
    return kept.val_accuracy, kept.val_loss, kept.epoch


@contextmanager
def changed(betas: tuple[float, float], *, normalised: bool) -> Iterator[None]:
    """Put what is no parameter into the library for a while."""
    adam = keras.optimizers.Adam
    with ExitStack() as stack:
        stack.enter_context(
            patch.object(keras.optimizers, "Adam", lambda rate, **_: adam(rate, beta_1=betas[0], beta_2=betas[1]))
        )
        if normalised:
            stack.enter_context(patch.object(batches_module, "scale", normalise))
        yield


def normalise(images: np.ndarray) -> np.ndarray:
    """Pixels with mean 0 and deviation 1 over MNIST instead of 0..1."""
    return (scale(images) - np.float32(0.1307)) / np.float32(0.3081)


if __name__ == "__main__":
    main()
