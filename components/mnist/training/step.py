"""The train step: train the network on a data set and write the model folder and the history.

`fitting.py` is the training itself. Keras is imported only after the data has been checked: the import takes seconds,
and most errors are found without it.
"""

import datetime
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.mnist.data.datasets import Dataset, read_dataset
from components.mnist.errors import DataError, reports_errors
from components.mnist.files import replacing
from components.mnist.history import write_history
from components.mnist.model import INPUT, ModelCard, TrainingMetrics, write_card
from components.mnist.progress import say
from components.mnist.settings import Recipe
from components.mnist.training import devices

if TYPE_CHECKING:
    from components.mnist.training.fitting import Fit

# Small data in large batches would give too few steps to learn from.
LARGEST_BATCH, SMALLEST_BATCH, STEPS_PER_EPOCH = 128, 16, 40
IMAGES_TO_COMPARE = 256  # to check that model.onnx agrees with model.keras


@reports_errors
def train_model(
    *, recipe: Recipe, training_folder: Path, validation_folder: Path, model_folder: Path, history_folder: Path
) -> ModelCard:
    """Train, keep the best epoch, and write the model folder and `history.csv`.

    Args:
        training_folder, validation_folder: Data sets with the same classes.
        model_folder: Receives `model.keras`, `model.onnx` and `model.json`; replaced as a whole.
        history_folder: Receives `history.csv`; replaced as a whole.

    Raises:
        DataError: A data set is damaged, or the two do not belong together.
        DeviceError: A GPU is required, but there is none.
        TrainingError: The loss became infinite or not a number.
        ModelError: model.onnx and model.keras give different probabilities.
    """
    if recipe.require_gpu:
        devices.refuse_without_gpu_files()
    training, validation = read_dataset(training_folder), read_dataset(validation_folder)
    expected, found = training.manifest.classes, validation.manifest.classes
    if found != expected:
        raise DataError(
            f"the validation data has the classes {', '.join(found)}, but the training data has "
            f"{', '.join(expected)}. Take both from the same run of `mnist step ingest`."
        )
    count = len(training.labels)
    recipe = replace(recipe, batch_size=choose_batch_size(recipe.batch_size, images=count))

    devices.prepare_keras()
    from components.mnist.training import fitting
    from components.mnist.training.network import build_network

    device = devices.find_device(require_gpu=recipe.require_gpu)
    devices.make_repeatable(recipe.seed)
    precision = devices.choose_precision(recipe.precision, device)
    say(
        f"{device.name}, {precision}: {count:,} training and {len(validation.labels):,} validation images, "
        f"{recipe.epochs} epochs of {math.ceil(count / recipe.batch_size):,} steps of {recipe.batch_size}"
    )
    network = build_network(len(expected), precision=precision)
    fit = fitting.fit_network(network, training, validation, recipe=recipe)
    with replacing(model_folder) as new_model, replacing(history_folder) as new_history:
        new_model.mkdir()
        new_history.mkdir()
        card = _write_model(
            new_model, fit, training, validation, recipe=recipe, device=device.name, precision=precision
        )
        write_history(new_history, fit.epochs)
    say(
        f"kept epoch {fit.best_epoch}: accuracy {card.metrics.training_accuracy:.2%} on training and "
        f"{card.metrics.validation_accuracy:.2%} on validation data; {fit.images_per_second:,.0f} images/s"
    )
    return card


def choose_batch_size(batch_size: int, *, images: int) -> int:
    """Return the batch size to train with: as given, but at most all images.

    0 means 128, halved until an epoch has 40 steps, but not below 16.
    """
    # Not an error: a platform would retry it, and only fail again.
    if batch_size:
        return min(batch_size, images)
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and images < STEPS_PER_EPOCH * size:
        size //= 2
    return min(size, images)


def _write_model(
    folder: Path, fit: "Fit", training: Dataset, validation: Dataset, *, recipe: Recipe, device: str, precision: str
) -> ModelCard:
    """Export the kept weights, measure them on both data sets, and write the card."""
    from components.mnist.training.export import export_network
    from components.mnist.training.fitting import evaluate
    from components.mnist.training.network import build_network

    # Always in float32: ONNX Runtime refuses mixed precision.
    network = build_network(len(training.manifest.classes), precision="float32")
    network.set_weights(fit.weights)
    difference = export_network(network, validation.images[:IMAGES_TO_COMPARE], folder=folder)
    training_loss, training_accuracy = evaluate(network, training)
    validation_loss, validation_accuracy = evaluate(network, validation)
    card = ModelCard(
        classes=training.manifest.classes,
        parameters=network.count_params(),
        input=INPUT,
        recipe=asdict(recipe),
        data={
            "source": training.manifest.source,
            "origin": training.manifest.origin,
            "training_sha256": training.manifest.sha256,
            "validation_sha256": validation.manifest.sha256,
        },
        metrics=TrainingMetrics(
            training_loss=training_loss,
            training_accuracy=training_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            best_epoch=fit.best_epoch,
            seconds=round(fit.seconds, 1),
            images_per_second=round(fit.images_per_second, 1),
        ),
        device=device,
        precision=precision,
        onnx_difference=difference,
        versions=devices.library_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    write_card(folder, card)
    return card
