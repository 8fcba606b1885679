"""Train the network on a data set and write the model folder and the history: the work of the train step.

Here is the order of things and what is refused; `fitting.py` is the training itself. Keras is imported only after
the settings and the data have been checked: its import takes longer than many a mistake needs to show.
"""

import contextlib
import csv
import datetime
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.mnist.data.datasets import IMAGE_SIDE, Dataset, read_dataset
from components.mnist.errors import DataError, TrainingError, reports_errors
from components.mnist.model import ModelCard, write_card
from components.mnist.progress import say
from components.mnist.settings import check_all
from components.mnist.training import devices

if TYPE_CHECKING:
    from components.mnist.training.fitting import Epoch, Fit

Recipe = dict[str, str | int | float | bool]  # every setting of a training, by parameter name

# A network learns by steps: small data in large batches would be over before it has learned anything.
LARGEST_BATCH, SMALLEST_BATCH, STEPS_PER_EPOCH = 128, 16, 40
IMAGES_TO_COMPARE = 256  # on which model.onnx has to agree with model.keras
IMAGES_AT_A_TIME = 512  # where nothing is learned: more memory, not more speed


@reports_errors
def train_model(
    *,
    training_folder: Path,
    validation_folder: Path,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    label_smoothing: float,
    shift: int,
    precision: str,
    seed: int,
    require_gpu: bool,
    model_folder: Path,
    history_folder: Path,
) -> ModelCard:
    """Train, keep the best epoch, and write the model folder and `history.csv`; both folders appear whole or not.

    Args:
        training_folder, validation_folder: Data sets with the same classes.
        epochs, batch_size, ..., require_gpu: As in `settings.py`.
        model_folder: Takes `model.keras`, `model.onnx` and `model.json`.
        history_folder: Takes `history.csv`: one line for each `fitting.Epoch`.

    Raises:
        SettingError: A setting is out of range.
        DataError: A data set is damaged, or the two do not belong together.
        DeviceError: A GPU is required and there is none.
        TrainingError: The batch is larger than the data, or the loss is not finite any more.
        ModelError: model.onnx does not answer like model.keras.
    """
    settings: Recipe = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "label_smoothing": label_smoothing,
        "shift": shift,
        "precision": precision,
        "seed": seed,
        "require_gpu": require_gpu,
    }
    check_all(**settings)
    if require_gpu:
        devices.refuse_without_gpu_files()
    training, validation = read_dataset(training_folder), read_dataset(validation_folder)
    _refuse_unfit(training, validation, batch_size=batch_size)
    batch_size = batch_size or choose_batch_size(len(training.labels))

    devices.quieten()
    from components.mnist.training import fitting
    from components.mnist.training.batches import Batches
    from components.mnist.training.network import build_network

    device = devices.find_device(require_gpu=require_gpu)
    devices.make_repeatable(seed)
    computed_in = devices.choose_precision(precision, device)
    classes = training.manifest.classes
    batches = Batches(training, batch_size=batch_size, shift=shift, seed=seed)
    say(
        f"{device.name}, {computed_in}: {len(training.labels):,} training and {len(validation.labels):,} validation "
        f"images, {epochs} epochs of {len(batches):,} steps of {batch_size}"
    )
    started = time.monotonic()
    fit = fitting.fit_network(
        build_network(len(classes), precision=computed_in),
        batches,
        Batches(validation, batch_size=IMAGES_AT_A_TIME, shift=0, seed=None),
        epochs=epochs,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
    )
    seconds = time.monotonic() - started

    with _in_place_when_whole(model_folder) as model_partial, _in_place_when_whole(history_folder) as history_partial:
        card = _write_model(
            model_partial,
            fit,
            training,
            validation,
            recipe=settings | {"batch_size": batch_size},
            device=device.name,
            precision=computed_in,
            seconds=seconds,
        )
        _write_history(history_partial / "history.csv", fit.epochs)
    say(
        f"kept epoch {fit.best_epoch}: accuracy {card.figures['training_accuracy']:.2%} on training and "
        f"{card.figures['validation_accuracy']:.2%} on validation data; {fit.images_per_second:,.0f} images/s"
    )
    return card


def _write_model(
    folder: Path,
    fit: "Fit",
    training: Dataset,
    validation: Dataset,
    *,
    recipe: Recipe,
    device: str,
    precision: str,
    seconds: float,
) -> ModelCard:
    """Export the kept weights, measure them on both data sets, and write the card."""
    from components.mnist.training import export, fitting
    from components.mnist.training.batches import Batches
    from components.mnist.training.network import INPUT_NAME, build_network

    # Trained in bfloat16 or not, what ships is the plain network: ONNX Runtime refuses mixed precision.
    kept = build_network(len(training.manifest.classes), precision="float32")
    kept.set_weights(fit.weights)
    difference = export.export_network(kept, validation.images[:IMAGES_TO_COMPARE], folder=folder)
    figures: dict[str, float] = {}
    for split, dataset in {"training": training, "validation": validation}.items():
        loss, accuracy = fitting.evaluate(kept, Batches(dataset, batch_size=IMAGES_AT_A_TIME, shift=0, seed=None))
        figures |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
    card = ModelCard(
        classes=training.manifest.classes,
        parameters=kept.count_params(),
        input={
            "name": INPUT_NAME,
            "dtype": "float32",
            "shape": ["batch", IMAGE_SIDE, IMAGE_SIDE, 1],
            "range": [0, 1],
            "ink": 1,
        },
        recipe=recipe,
        data={
            "source": training.manifest.source,
            "origin": training.manifest.origin,
            "training_sha256": training.manifest.sha256,
            "validation_sha256": validation.manifest.sha256,
        },
        figures={
            **figures,
            "best_epoch": fit.best_epoch,
            "seconds": round(seconds, 1),
            "images_per_second": round(fit.images_per_second, 1),
        },
        device=device,
        precision=precision,
        onnx_difference=difference,
        versions=devices.library_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    write_card(folder, card)
    return card


def choose_batch_size(images: int) -> int:
    """What `batch_size=0` means: 128, halved until an epoch of so many images has 40 steps, but not below 16."""
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and images < STEPS_PER_EPOCH * size:
        size //= 2
    return min(size, images)


def _refuse_unfit(training: Dataset, validation: Dataset, *, batch_size: int) -> None:
    expected, found = training.manifest.classes, validation.manifest.classes
    if found != expected:
        raise DataError(
            f"the validation data has the classes {', '.join(found)}, where the training data has "
            f"{', '.join(expected)}. Take both from the same run of `mnist step ingest`."
        )
    for dataset in (training, validation):
        split, count = dataset.manifest.split, len(dataset.labels)
        if not count:
            raise DataError(f"the {split} data has no images; at least one is needed. Give ingest more images.")
        if (largest := int(np.max(dataset.labels))) >= len(expected):
            raise DataError(
                f"the {split} data has the label {largest}, but there are only {len(expected)} classes, from 0. "
                "Make it anew with `mnist step ingest`."
            )
    if batch_size > len(training.labels):
        raise TrainingError(
            f"batch_size={batch_size}, but there are only {len(training.labels):,} training images. Lower batch_size."
        )


@contextlib.contextmanager
def _in_place_when_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of `folder` if all goes well and disappears if not."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(partial, folder)  # mounted buckets cannot rename a folder: this copies there
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_history(file: Path, epochs: "list[Epoch]") -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(epochs[0])])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
