"""Compare recipes on validation data: the reason for the pipeline's defaults. The test sets are never opened.

    python tests/benchmarks/recipes.py              # writes results/recipes.csv; half an hour on 2 cores
    python tests/benchmarks/recipes.py "no shift"   # only this one; adds its lines to the file

One line per training: each recipe on MNIST (54,000 images for training, 6,000 for validation) and on five splits of the
sample (1,150 and 287).
"""

import csv
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from components.mnist.data.datasets import read_dataset
from components.mnist.data.step import ingest_data
from components.mnist.model import scale
from components.mnist.settings import Recipe
from components.mnist.training import devices
from components.mnist.training.step import choose_batch_size
from pipelines import parameters
from pipelines import training as pipeline

devices.prepare_keras()

from components.mnist.training import batches, fitting  # noqa: E402
from components.mnist.training.network import build_network  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "recipes.csv"
DEFAULTS = Recipe.from_parameters(parameters.read_defaults(pipeline.build(pipeline.Placement())))
BASE = replace(DEFAULTS, batch_size=128, label_smoothing=0.05, precision="float32")


@dataclass(frozen=True)
class Variant:
    """A recipe, and what it changes that is no parameter of the pipeline.

    Attributes:
        betas: Of Adam.
        normalised: Whether pixels have mean 0 and deviation 1 over MNIST instead of lying in 0..1.
    """

    recipe: Recipe
    betas: tuple[float, float]
    normalised: bool


def vary(*, betas: tuple[float, float] = (0.9, 0.999), normalised: bool = False, **changes: Any) -> Variant:
    """The base with some changes."""
    return Variant(replace(BASE, **changes), betas, normalised)


RECIPES = {
    "base": vary(),
    "learning rate 0.002": vary(learning_rate=0.002),
    "learning rate 0.004": vary(learning_rate=0.004),
    "learning rate 0.016": vary(learning_rate=0.016),
    "batch 64, learning rate 0.004": vary(batch_size=64, learning_rate=0.004),
    "Adam's betas 0.85, 0.99": vary(betas=(0.85, 0.99)),
    "no smoothing": vary(label_smoothing=0.0),
    "no smoothing, betas 0.85, 0.99": vary(label_smoothing=0.0, betas=(0.85, 0.99)),
    "no smoothing, betas, learning rate 0.012": vary(label_smoothing=0.0, betas=(0.85, 0.99), learning_rate=0.012),
    "the defaults": vary(label_smoothing=0.0, betas=(0.85, 0.99), batch_size=0),
    "no shift": vary(shift=0),
    "shift 2": vary(shift=2),
    "normalised pixels": vary(normalised=True),
}
RUNS = {"mnist": (0.1, [0]), "sample": (0.2, [0, 1, 2, 3, 4])}  # validation_fraction, seeds of split and training


def main() -> None:
    """Train the named recipes, or all, and write their lines as soon as they are known."""
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
                found = [train(Path(folder) / f"{source}-{seed}", RECIPES[name], seed=seed) for seed in seeds]
                for seed, (accuracy, loss, epoch) in zip(seeds, found, strict=True):
                    writer.writerow([source, name, seed, f"{accuracy:.5f}", f"{loss:.5f}", epoch])
                file.flush()
                accuracy, loss = (statistics.fmean(row[column] for row in found) for column in (0, 1))
                print(f"== {source}  {name}: validation accuracy {accuracy:.2%}, loss {loss:.4f}", flush=True)


def split(source: str, fraction: float, seed: int, folder: Path) -> None:
    """Ingest the data sets of one seed."""
    parts = {f"{part}_folder": folder / f"{source}-{seed}" / part for part in ("training", "validation", "test")}
    ingest_data(source=source, polarity="auto", validation_fraction=fraction, test_fraction=0.2, seed=seed, **parts)


def train(data: Path, variant: Variant, *, seed: int) -> tuple[float, float, int]:
    """Accuracy and loss of the kept epoch on validation data, and its number."""
    training, validation = read_dataset(data / "training"), read_dataset(data / "validation")
    batch_size = choose_batch_size(variant.recipe.batch_size, images=len(training.labels))
    devices.make_repeatable(seed)
    with ExitStack() as stack:
        stack.enter_context(patch.multiple(fitting, BETA_1=variant.betas[0], BETA_2=variant.betas[1]))
        if variant.normalised:
            stack.enter_context(patch.object(batches, "scale", normalise))
        fit = fitting.fit_network(
            build_network(len(training.manifest.classes), precision="float32"),
            training,
            validation,
            recipe=replace(variant.recipe, seed=seed, batch_size=batch_size),
        )
    kept = fit.epochs[fit.best_epoch - 1]
    return kept.val_accuracy, kept.val_loss, kept.epoch


def normalise(images: np.ndarray) -> np.ndarray:
    """Scale pixels to mean 0 and deviation 1 over MNIST."""
    return (scale(images) - np.float32(0.1307)) / np.float32(0.3081)


if __name__ == "__main__":
    main()
