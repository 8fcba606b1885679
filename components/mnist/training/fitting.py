"""Fit the network with Keras: loss, optimizer, learning rate, and what is watched while it learns.

Knows neither files nor the pipeline. Progress goes out while it happens.
"""

import math
import time
from dataclasses import dataclass

import keras
import numpy as np

from components.mnist.errors import TrainingError
from components.mnist.progress import Progress, say
from components.mnist.training.batches import Batches

WARM_UP = 0.1  # share of all steps
# Shorter memories than Adam's usual 0.9 and 0.999, which a training of few steps ends before it has filled; measured
# by tests/benchmarks/recipes.py.
BETA_1, BETA_2 = 0.85, 0.99
# Steps that Keras runs before it comes back: fewer returns are faster, more show progress and trouble sooner.
STEPS_PER_CALL = 20


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv.

    Attributes:
        epoch: From 1.
        loss, accuracy: Means over the epoch's training batches as they were learned from, shifts included; the
            cross-entropy is without label smoothing, so that it can be compared with `val_loss`.
        val_loss, val_accuracy: Of the epoch's last weights on validation data.
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


@dataclass(frozen=True)
class Fit:
    """What training found.

    Attributes:
        weights: Of the best epoch, in the order of `Model.get_weights`.
        best_epoch: From 1.
        epochs: Every epoch, in order.
        images_per_second: While training: without the first call, in which Keras traces the network, and without
            validation.
    """

    weights: list[np.ndarray]
    best_epoch: int
    epochs: list[Epoch]
    images_per_second: float


def fit_network(
    network: keras.Model,
    training: Batches,
    validation: Batches,
    *,
    epochs: int,
    learning_rate: float,
    label_smoothing: float,
) -> Fit:
    """Train a new network.

    Raises:
        TrainingError: The loss is not finite any more.
    """
    steps = epochs * len(training)
    network.compile(
        optimizer=keras.optimizers.Adam(warm_up_and_decay(learning_rate, steps=steps), beta_1=BETA_1, beta_2=BETA_2),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        # The loss that people compare is without smoothing, hence a metric of its own.
        metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            keras.metrics.CategoricalCrossentropy(name="cross_entropy"),
        ],
        steps_per_execution=min(STEPS_PER_CALL, len(training)),
        # XLA compiles for longer than this network trains, and runs it slower on a CPU.
        jit_compile=keras.backend.backend() == "jax",
    )
    watch = Watch(training, epochs=epochs, learning_rate=learning_rate)
    network.fit(training, validation_data=validation, epochs=epochs, verbose=0, shuffle=False, callbacks=[watch])
    return Fit(watch.best_weights, watch.best.epoch, watch.history, watch.stopwatch.images_per_second)


def evaluate(network: keras.Model, batches: Batches) -> tuple[float, float]:
    """Loss and accuracy of a network as it is; compiles it.

    Returns:
        Mean cross-entropy without smoothing, and the share of right answers.
    """
    network.compile(
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        steps_per_execution=min(STEPS_PER_CALL, len(batches)),
        jit_compile=keras.backend.backend() == "jax",
    )
    figures = network.evaluate(batches, verbose=0, return_dict=True)
    return float(figures["loss"]), float(figures["accuracy"])


def warm_up_and_decay(peak: float, *, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rise in a straight line to the peak, then fall along half a cosine to 0 at the last step."""
    warm_up = max(1, round(WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / (warm_up + 1),
        warmup_target=peak,
        warmup_steps=warm_up,
        decay_steps=max(1, steps - warm_up),
    )


class Watch(keras.callbacks.Callback):
    """Drives the order of batches, tells how it goes, keeps the best epoch, and stops when the loss is lost.

    The best epoch has the lowest loss on validation data. Accuracy would do for many images, but on a few hundred it
    moves in steps of half a percent and picks an early epoch by luck; the loss hears every probability.
    """

    def __init__(self, training: Batches, *, epochs: int, learning_rate: float) -> None:
        super().__init__()
        self.history: list[Epoch] = []
        self.best: Epoch
        self.best_weights: list[np.ndarray] = []
        self.stopwatch = Stopwatch()
        self._training = training
        self._epochs = epochs
        self._learning_rate = learning_rate
        self._progress = Progress(epochs * len(training), unit="steps")
        self._epoch_started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._training.epoch = epoch
        self._epoch_started = time.monotonic()
        self.stopwatch.start_epoch(self._epoch_started)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        epoch = len(self.history)
        # Keras counts whole calls, also where the data ends within one.
        done = min(batch + 1, len(self._training))
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self.stopwatch.lap(min(done * self._training.batch_size, self._training.count), time.monotonic())
        if not math.isfinite(figures["loss"]):
            raise self._lost("the loss", figures["loss"])
        self._progress.update(
            epoch * len(self._training) + done,
            f"epoch {epoch + 1}/{self._epochs}  accuracy {figures['accuracy']:.4f}  "
            f"loss {figures['cross_entropy']:.4f}",
        )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        seen = Epoch(
            epoch=epoch + 1,
            loss=figures["cross_entropy"],
            accuracy=figures["accuracy"],
            val_loss=figures["val_cross_entropy"],
            val_accuracy=figures["val_accuracy"],
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=time.monotonic() - self._epoch_started,
        )
        if not math.isfinite(seen.val_loss):
            raise self._lost("the loss on validation data", seen.val_loss)
        if not self.history or seen.val_loss < self.best.val_loss:
            self.best, self.best_weights = seen, self.model.get_weights()
        self.history.append(seen)
        say(
            f"epoch {seen.epoch}/{self._epochs}  loss {seen.loss:.4f}  accuracy {seen.accuracy:.4f}  "
            f"val_loss {seen.val_loss:.4f}  val_accuracy {seen.val_accuracy:.4f}  {seen.seconds:.1f} s"
        )

    def _lost(self, what: str, value: float) -> TrainingError:
        return TrainingError(
            f"{what} became {value} in epoch {len(self.history) + 1}: the steps were too large. "
            f"Lower learning_rate (it is {self._learning_rate:g})."
        )


class Stopwatch:
    """Images and seconds over the calls of all epochs; the very first call of a training does not count."""

    def __init__(self) -> None:
        self._images = 0
        self._seconds = 0.0
        self._first: tuple[int, float] | None = None
        self._done = 0
        self._time = 0.0

    def start_epoch(self, now: float) -> None:
        """An epoch begins at second `now`."""
        self._done, self._time = 0, now

    def lap(self, done: int, now: float) -> None:
        """`done` images of this epoch are finished at second `now`."""
        images, seconds = done - self._done, now - self._time
        self._done, self._time = done, now
        if self._first is None:
            self._first = images, seconds
        else:
            self._images += images
            self._seconds += seconds

    @property
    def images_per_second(self) -> float:
        """Of the first call where there was no other."""
        images, seconds = (self._images, self._seconds) if self._images else self._first or (0, 0.0)
        return images / max(seconds, 1e-9)
