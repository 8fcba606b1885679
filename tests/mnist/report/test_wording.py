"""What the metrics of an evaluation are said to mean."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from components.mnist.evaluation.results import Evaluation
from components.mnist.evaluation.step import evaluate_model
from components.mnist.report import wording


@pytest.fixture(scope="module")
def found(linear_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A real evaluation to change."""
    root = tmp_path_factory.mktemp("evaluation")
    return evaluate_model(
        model_folder=linear_run / "model",
        test_folder=linear_run / "test",
        metrics_folder=root / "metrics",
        predictions_folder=root / "predictions",
    )


def with_matrix(found: Evaluation, *rows: tuple[int, ...]) -> Evaluation:
    """The evaluation as if three classes had been confused like this."""
    matrix = np.array(rows)
    correct, count, support = int(np.trace(matrix)), int(matrix.sum()), matrix.sum(axis=1)
    recall = np.diag(matrix) / support
    return dataclasses.replace(
        found,
        classes=("cat", "dog", "cow"),
        confusion=rows,
        count=count,
        correct=correct,
        accuracy=correct / count,
        support=tuple(support.tolist()),
        recall=tuple(recall.tolist()),
        worst_class=("cat", "dog", "cow")[int(recall.argmin())],
        worst_class_recall=float(recall.min()),
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.9938, "99.38%"), (1.0, "100.00%"), (0.99999, ">99.99%"), (0.0, "0.00%"), (0.00001, "<0.01%"), (0.5, "50.00%")],
)
def test_almost_all_is_not_written_as_all(share: float, text: str) -> None:
    assert wording.percent(share) == text


def test_the_most_frequent_mistakes_and_the_weakest_class_are_named(found: Evaluation) -> None:
    sentence = wording.say_where_it_fails(with_matrix(found, (90, 7, 3), (0, 100, 0), (2, 0, 98)))
    assert sentence == (
        "Of the 12 mistakes, the most frequent is cat predicted as dog (7 times), then cat as cow (3) and cow as cat "
        "(2). The weakest class is cat, with a recall of 90.0% on 100 images."
    )


@pytest.mark.parametrize(
    ("rows", "beginning"),
    [
        (
            [(10, 0, 0), (0, 10, 0), (0, 1, 9)],
            "The only mistake is cow predicted as dog. The weakest class is cow",
        ),
        (
            [(9, 1, 0), (0, 9, 1), (0, 0, 9)],
            "The 2 mistakes confuse 2 different pairs of classes. The weakest class is cat",
        ),
        ([(9, 0, 0), (0, 9, 0), (0, 0, 9)], "No test image is misclassified; with 27 images, the true accuracy may"),
    ],
    ids=["one", "all-different", "none"],
)
def test_few_mistakes_have_their_own_sentences(found: Evaluation, rows: list[tuple[int, ...]], beginning: str) -> None:
    assert wording.say_where_it_fails(with_matrix(found, *rows)).startswith(beginning)


def test_confusions_come_most_frequent_first_and_without_correct_predictions(found: Evaluation) -> None:
    pairs = wording.frequent_confusions(with_matrix(found, (90, 1, 0), (5, 100, 0), (2, 0, 98)), most=2)
    assert pairs == [wording.Confusion("dog", "cat", 5), wording.Confusion("cow", "cat", 2)]


@pytest.mark.parametrize(
    ("accuracy", "smoothing", "words"),
    [
        (0.99, 0.05, "under-confident, an effect of label smoothing (0.05)."),
        (0.99, 0.0, "under-confident."),
        (0.805, 0.05, "well calibrated on average."),
        (0.5, 0.05, "over-confident."),
    ],
)
def test_under_and_over_confident_models_are_named(
    found: Evaluation, accuracy: float, smoothing: float, words: str
) -> None:
    changed = dataclasses.replace(found, accuracy=accuracy, bin_count=(5, 5), bin_confidence=(0.7, 0.9))
    sentence = wording.say_how_calibrated(changed, label_smoothing=smoothing)
    assert sentence.startswith("The mean confidence is 80.0% and the accuracy ")
    assert sentence.endswith(words)


def test_alternative_texts_contain_the_metrics(found: Evaluation) -> None:
    assert f"{found.correct} of 60 on the diagonal" in wording.describe_confusion(found)
    assert f"{wording.percent(found.worst_class_recall, 1)} and" in wording.describe_by_class(found)
    assert f"{max(found.bin_count)})" in wording.describe_calibration(found)
    curve = wording.describe_curve("Accuracy", [0.5, 0.75], [0.6, 0.8], best_epoch=2, shares=True)
    assert curve == (
        "Accuracy by epoch, 2 in all, epoch 2 was kept. Training: 50.00%, 75.00%. Validation: 60.00%, 80.00%."
    )


def test_alternative_texts_of_many_classes_name_the_ends() -> None:
    names = [f"class {number}" for number in range(200)]
    text = wording.describe_balance({"training": range(200), "test": range(200)}, names)
    assert "class 0: 0, 0; class 1: 1, 1" in text
    assert text.endswith("class 199: 199, 199.")
    assert len(text) < 400
