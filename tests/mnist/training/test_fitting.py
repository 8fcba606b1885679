"""The learning rate, the best epoch, and what is printed and refused while the network learns."""

import contextlib
import dataclasses
import io
import json
import re

import numpy as np
import pytest

from components.mnist.training import devices

devices.prepare_keras()

from components.mnist.data.datasets import Dataset  # noqa: E402
from components.mnist.errors import TrainingError  # noqa: E402
from components.mnist.model import scale  # noqa: E402
from components.mnist.training import fitting  # noqa: E402
from components.mnist.training.batches import Batches  # noqa: E402
from components.mnist.training.network import build_network  # noqa: E402
from tests.mnist.training.test_batches import write  # noqa: E402
from tests.recipe import RECIPE  # noqa: E402


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, np.ndarray]) -> Dataset:
    return write(tmp_path_factory.mktemp("data") / "training", digits["x_train"], digits["y_train"])


def fit(dataset: Dataset, *, epochs: int, learning_rate: float, label_smoothing: float = 0.05) -> fitting.Fit:
    """Overfit 200 real digits."""
    devices.make_repeatable(0)
    recipe = dataclasses.replace(
        RECIPE, epochs=epochs, learning_rate=learning_rate, label_smoothing=label_smoothing, shift=0, seed=0
    )
    return fitting.fit_network(build_network(10, precision="float32"), dataset, dataset, recipe=recipe)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    schedule = fitting.warm_up_and_decay(0.01, steps=100)
    rates = np.array([float(schedule(step)) for step in range(101)])
    assert 0 < rates[0] < 0.001
    assert rates.argmax() == 10
    assert rates.max() == pytest.approx(0.01)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[55] == pytest.approx(0.005)
    assert rates[100] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_few_steps_have_a_learning_rate_too(steps: int) -> None:
    rates = [float(fitting.warm_up_and_decay(0.01, steps=steps)(step)) for step in range(steps)]
    assert all(0 < rate <= 0.01 for rate in rates)


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> tuple[fitting.Fit, list[str]]:
    """A training with much label smoothing, and the lines that it printed."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("MNIST_PROGRESS", "1")
        found = fit(dataset, epochs=4, learning_rate=0.004, label_smoothing=0.4)
    return found, printed.getvalue().splitlines()


def test_a_training_prints_every_epoch(fitted: tuple[fitting.Fit, list[str]]) -> None:
    found, printed = fitted
    assert [epoch.epoch for epoch in found.epochs] == [1, 2, 3, 4]
    assert found.images_per_second > 0
    lines = [line.removeprefix("@say ") for line in printed if line.startswith("@say ")]
    number = r"\d+\.\d{4}"
    for epoch, line in enumerate(lines, start=1):
        assert re.fullmatch(
            rf"epoch {epoch}/4  loss {number}  accuracy {number}  val_loss {number}  val_accuracy {number}  \d+\.\d s",
            line,
        )
    assert len(lines) == 4
    updates = [json.loads(line.removeprefix("@progress ")) for line in printed if line.startswith("@progress ")]
    assert updates[-1]["done"] == updates[-1]["total"] == 4 * 13
    assert re.fullmatch(rf"epoch 4/4  accuracy {number}  loss {number}", updates[-1]["text"])
    assert [update["done"] for update in updates] == sorted({update["done"] for update in updates})


def test_a_training_keeps_its_best_epoch_and_reports_losses_without_smoothing(
    fitted: tuple[fitting.Fit, list[str]], dataset: Dataset
) -> None:
    found, _ = fitted
    losses = [epoch.val_loss for epoch in found.epochs]
    assert found.best_epoch == 1 + losses.index(min(losses))
    best = found.epochs[found.best_epoch - 1]

    kept = build_network(10, precision="float32")
    kept.set_weights(found.weights)
    loss, accuracy = fitting.evaluate(kept, dataset)
    assert (loss, accuracy) == pytest.approx((best.val_loss, best.val_accuracy), abs=1e-5)
    assert accuracy > 0.9

    probabilities = kept.predict(scale(dataset.images), verbose=0)
    plain = -np.log(probabilities[np.arange(200), dataset.labels]).mean()
    smoothed = -(np.log(probabilities).mean(axis=1) * 0.4).mean() + 0.6 * plain
    assert best.val_loss == pytest.approx(plain, rel=1e-4)
    assert abs(best.loss - plain) < abs(best.loss - smoothed)


def test_the_epoch_with_the_lowest_validation_loss_is_kept(dataset: Dataset) -> None:
    network = build_network(10, precision="float32")
    network.compile(optimizer="adam", loss="categorical_crossentropy")
    watch = fitting.Watch(Batches(dataset, batch_size=16), RECIPE)
    watch.set_model(network)
    for epoch, (val_loss, val_accuracy) in enumerate([(0.9, 0.7), (0.2, 0.95), (0.3, 0.96)]):
        network.set_weights([np.full(weight.shape, epoch) for weight in network.get_weights()])
        watch.on_epoch_begin(epoch)
        metrics = {"val_cross_entropy": val_loss, "val_accuracy": val_accuracy}
        watch.on_epoch_end(epoch, {"loss": 1.0, "cross_entropy": 1.0, "accuracy": 0.5, **metrics})
    assert watch.best.epoch == 2
    assert all((weight == 1).all() for weight in watch.best_weights)


def test_a_loss_that_is_not_finite_stops_in_the_epoch_where_it_happens(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "warm_up_and_decay", lambda *_, **__: 1e38)  # no setting goes that far
    with pytest.raises(
        TrainingError, match=r"the loss .*became (nan|inf) in epoch 1: .* Lower learning_rate \(it is 0\.004\)"
    ):
        fit(dataset, epochs=3, learning_rate=0.004)


def test_images_per_second_leave_out_the_first_call_and_what_lies_between_epochs() -> None:
    stopwatch = fitting.Stopwatch()
    stopwatch.start_epoch(now=0.0)
    stopwatch.lap(100, now=50.0)  # Keras traces the network
    assert stopwatch.images_per_second == 2  # better than nothing
    stopwatch.lap(300, now=51.0)
    stopwatch.start_epoch(now=60.0)
    stopwatch.lap(300, now=61.0)
    assert stopwatch.images_per_second == 250
