"""The data of one run for the report, read from the outputs of the other steps and checked for consistency."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.mnist.data.datasets import Dataset, Manifest, read_dataset
from components.mnist.data.leakage import count_repeated
from components.mnist.errors import DataError, ModelError
from components.mnist.evaluation.results import Evaluation, identify_model, read_evaluation, read_probabilities
from components.mnist.history import Epoch, read_history
from components.mnist.model import ModelCard, read_card
from components.mnist.settings import CODE, SETTINGS, Value


@dataclass(frozen=True)
class Run:
    """One run: its data, training and evaluation.

    Attributes:
        probabilities: float32 (n, classes), in the order of `test`.
        repeated: Number of test images that also occur in the training or validation data.
        code: The version of the code that ran it, as in run.json and in the tags of images; empty if unknown.
    """

    card: ModelCard
    history: list[Epoch]
    evaluation: Evaluation
    probabilities: np.ndarray
    test: Dataset
    training: Manifest
    validation: Manifest
    repeated: int
    code: str

    @property
    def manifests(self) -> tuple[Manifest, Manifest, Manifest]:
        """Manifests of training, validation and test data."""
        return self.training, self.validation, self.test.manifest

    @property
    def parameters(self) -> dict[str, Value | None]:
        """The pipeline's parameters in its order; None for one that is newer than the run."""
        values = {"source": self.training.source, **self.training.settings, **self.card.recipe}
        return {name: values.get(name) for name in SETTINGS}


def read_run(
    *,
    model_folder: Path,
    history_folder: Path,
    metrics_folder: Path,
    predictions_folder: Path,
    training_folder: Path,
    validation_folder: Path,
    test_folder: Path,
) -> Run:
    """Read the outputs of ingest, train and evaluate.

    Raises:
        DataError, ModelError: An input is missing, damaged, or belongs to another run.
    """
    card = read_card(model_folder)
    evaluation = read_evaluation(metrics_folder)
    training, validation, test = map(read_dataset, (training_folder, validation_folder, test_folder))
    if evaluation.test_sha256 != test.manifest.sha256:
        raise DataError(
            f"{metrics_folder} was measured on other test data (sha256 {evaluation.test_sha256[:12]}) than "
            f"{test_folder} ({test.manifest.sha256[:12]}). Evaluate again with `mnist step evaluate`."
        )
    if evaluation.model_sha256 != (found := identify_model(model_folder)):
        raise ModelError(
            f"{metrics_folder} was measured with another model (sha256 {evaluation.model_sha256[:12]}) than "
            f"{model_folder} ({found[:12]}). Evaluate again with `mnist step evaluate`."
        )
    for split, manifest, folder in (
        ("training", training.manifest, training_folder),
        ("validation", validation.manifest, validation_folder),
    ):
        if card.data.get(f"{split}_sha256") != manifest.sha256 or card.classes != manifest.classes:
            raise DataError(f"{folder} is not the {split} data of {model_folder}. Give the folders of one run.")
    history = read_history(history_folder)
    if not 1 <= card.metrics.best_epoch <= len(history):
        raise DataError(
            f"{history_folder}/history.csv has {len(history)} epochs, but {model_folder} kept epoch "
            f"{card.metrics.best_epoch}. Give the folders of one run."
        )
    return Run(
        card=card,
        history=history,
        evaluation=evaluation,
        probabilities=read_probabilities(
            predictions_folder, count=test.manifest.count, classes=len(test.manifest.classes)
        ),
        test=test,
        training=training.manifest,
        validation=validation.manifest,
        repeated=count_repeated(test.images, training.images, validation.images),
        code=os.environ.get(CODE, ""),
    )
