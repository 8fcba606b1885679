"""The trained model on disk, and predictions with it: ONNX Runtime and NumPy, no training framework.

A model folder holds `model.keras` (the source of truth), `model.onnx` (what is evaluated and served) and
`model.json` (the card). Input: float32 (n, 28, 28, 1) in 0..1, ink is 1; output: one probability per class.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from components.mnist.data.datasets import BLOCK, IMAGE_SIDE
from components.mnist.errors import ModelError

INPUT_NAME = "images"
# The contract for a model's input; `scale` fulfils it.
INPUT: dict[str, object] = {
    "name": INPUT_NAME,
    "dtype": "float32",
    "shape": ["batch", IMAGE_SIDE, IMAGE_SIDE, 1],
    "range": [0, 1],
    "ink": 1,
}


@dataclass(frozen=True)
class TrainingMetrics:
    """Metrics of a training.

    Attributes:
        training_loss, training_accuracy, validation_loss, validation_accuracy: Of the kept weights, on images that are
            not shifted; the cross-entropy is without label smoothing.
        best_epoch: The epoch whose weights were kept, from 1.
        seconds: Of the training itself, without imports and export.
        images_per_second: While training, without validation.
    """

    training_loss: float
    training_accuracy: float
    validation_loss: float
    validation_accuracy: float
    best_epoch: int
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class ModelCard:
    """The content of `model.json`.

    Attributes:
        classes: Name of each class, in the order of the outputs.
        parameters: Number of weights: 225,034 for ten classes.
        input: The input contract, `INPUT`.
        recipe: The training settings by name, as recorded, with the batch size that was used. Not a `Recipe`, so that
            models that are older or newer than a setting stay readable.
        data: `source`, `origin`, and `training_sha256`, `validation_sha256` of the data sets.
        metrics: Metrics of the training.
        device: The training device, for people: "CPU, 2 cores" or "GPU, NVIDIA L4".
        precision: "float32" or "bfloat16", as used during training; the files are always float32.
        onnx_difference: Largest difference between the probabilities of model.onnx and model.keras on real images.
        versions: Versions of Python and the libraries in training.
        created: Time in UTC, ISO 8601, to the second.
    """

    classes: tuple[str, ...]
    parameters: int
    input: dict[str, object]
    recipe: Mapping[str, Any]
    data: dict[str, str]
    metrics: TrainingMetrics
    device: str
    precision: str
    onnx_difference: float
    versions: dict[str, str]
    created: str

    def metadata(self) -> dict[str, str | int | float]:
        """Return the scalars that pipeline pages show beside the artifact."""
        return {
            "parameters": self.parameters,
            "classes": len(self.classes),
            "device": self.device,
            "precision": self.precision,
            "source": self.data["source"],
            **asdict(self.metrics),
        }


@dataclass(frozen=True)
class Classifier:
    """A loaded model with its card."""

    session: onnxruntime.InferenceSession
    card: ModelCard

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Classify images, a block at a time.

        Args:
            images: uint8 (n, 28, 28), ink is 255; may be memory-mapped.

        Returns:
            float32 (n, classes), each row adding up to 1.
        """
        name = self.session.get_inputs()[0].name
        result = np.empty((len(images), len(self.card.classes)), np.float32)
        for start in range(0, len(images), BLOCK):
            result[start : start + BLOCK] = self.session.run(None, {name: scale(images[start : start + BLOCK])})[0]
        return result


def scale(images: np.ndarray) -> np.ndarray:
    """Map pixels to 0..1 and add the channel axis.

    Args:
        images: uint8 (n, 28, 28), ink is 255.

    Returns:
        float32 (n, 28, 28, 1).
    """
    return images[..., np.newaxis].astype(np.float32) / np.float32(255)


def load_classifier(folder: Path) -> Classifier:
    """Load the ONNX model of a model folder.

    Raises:
        ModelError: A file is missing or damaged, or model.onnx and model.json disagree on the classes.
    """
    card = read_card(folder)
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a different class for each cause
        raise ModelError(f"{folder / 'model.onnx'}: cannot be loaded ({error}). Train again.") from error
    outputs = session.get_outputs()[0].shape[-1]
    if outputs != len(card.classes):
        raise ModelError(
            f"{folder}: model.onnx has {outputs} outputs but model.json names {len(card.classes)} classes."
        )
    return Classifier(session, card)


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `model.json` into the model folder."""
    (folder / "model.json").write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> ModelCard:
    """Read `model.json`.

    Raises:
        ModelError: The file is missing, damaged, or not a model card.
    """
    path = folder / "model.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        card["classes"] = tuple(card["classes"])
        card["recipe"] = {**card["recipe"]}  # refuses anything but an object
        card["metrics"] = TrainingMetrics(**card["metrics"])
        return ModelCard(**card)
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: holds no model.json; expected a folder that `mnist step train` wrote.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: damaged, or not the card of a model ({error}). Train again.") from error
