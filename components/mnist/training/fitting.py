"""Fit the network with Keras: loss, optimizer, learning rate and callback.

Knows neither files nor the pipeline.
"""

import math
import time
from dataclasses import dataclass

import keras
import numpy as np

from components.mnist.data.datasets import Dataset
from components.mnist.errors import TrainingError
from components.mnist.history import Epoch
from components.mnist.progress import Progress, say
from components.mnist.settings import Recipe
from components.mnist.training.batches import Batches

WARM_UP = 0.1  # share of all steps
# Shorter averages than Adam's usual 0.9 and 0.999, which need more steps than a short training has; measured by
# tests/benchmarks/recipes.py.
BETA_1, BETA_2 = 0.85, 0.99
# Steps that Keras runs per call of a compiled function: more are faster, fewer show progress and errors sooner.
STEPS_PER_CALL = 20
IMAGES_AT_A_TIME = 512  # in evaluation: more would need more memory and be no faster


@dataclass(frozen=True)
class Fit:
    """The result of a training.

    Attributes:
        weights: Weights of the best epoch, in the order of `Model.get_weights`.
        best_epoch: From 1.
        epochs: All epochs, in order.
        seconds: Duration of the whole fit, validation included.
        images_per_second: In training, without the first call, in which Keras traces the network, and without
            validation.
    """

    weights: list[np.ndarray]
    best_epoch: int
    epochs: list[Epoch]
    seconds: float
    images_per_second: float


def fit_network(network: keras.Model, training: Dataset, validation: Dataset, *, recipe: Recipe) -> Fit:
    """Train a new network.

    Args:
        recipe: With a batch size above 0.

    Raises:
        TrainingError: The loss became infinite or not a number.
    """
    started = time.monotonic()
    batches = Batches(training, batch_size=recipe.batch_size, shift=recipe.shift, seed=recipe.seed)
    rate = warm_up_and_decay(recipe.learning_rate, steps=recipe.epochs * len(batches))
    network.compile(
        optimizer=keras.optimizers.Adam(rate, beta_1=BETA_1, beta_2=BETA_2),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            # The reported loss has no smoothing, hence a separate metric.
            keras.metrics.CategoricalCrossentropy(name="cross_entropy"),
        ],
        steps_per_execution=min(STEPS_PER_CALL, len(batches)),
        # XLA takes longer to compile than this network to train, and its code is slower on a CPU.
        jit_compile=False,
    )
    watch = Watch(batches, recipe)
    network.fit(
        batches,
        validation_data=Batches(validation, batch_size=IMAGES_AT_A_TIME),
        epochs=recipe.epochs,
        verbose=0,
        shuffle=False,  # the batches shuffle themselves
        callbacks=[watch],
    )
    return Fit(
        watch.best_weights,
        watch.best.epoch,
        watch.history,
        seconds=time.monotonic() - started,
        images_per_second=watch.stopwatch.images_per_second,
    )


def evaluate(network: keras.Model, dataset: Dataset) -> tuple[float, float]:
    """Measure loss and accuracy of a network on images that are not shifted; compiles the network.

    Returns:
        Mean cross-entropy without smoothing, and the share of correct predictions.
    """
    batches = Batches(dataset, batch_size=IMAGES_AT_A_TIME)
    network.compile(
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        steps_per_execution=min(STEPS_PER_CALL, len(batches)),
        jit_compile=False,
    )
    metrics = network.evaluate(batches, verbose=0, return_dict=True)
    return float(metrics["loss"]), float(metrics["accuracy"])


def warm_up_and_decay(peak: float, *, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a schedule of linear warm-up to the peak, then cosine decay to 0 at the last step."""
    warm_up = max(1, round(WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / (warm_up + 1),
        warmup_target=peak,
        warmup_steps=warm_up,
        decay_steps=max(1, steps - warm_up),
    )


class Watch(keras.callbacks.Callback):
    """Sets the epoch of batches, prints progress, keeps the best epoch, and stops if the loss is not finite.

    The best epoch has the lowest loss on validation data. Accuracy would do for many images, but on a few hundred it
    changes in steps of half a percent and picks an early epoch by chance; the loss uses every probability.
    """

    def __init__(self, training: Batches, recipe: Recipe) -> None:
        super().__init__()
        self.history: list[Epoch] = []
        self.best: Epoch
        self.best_weights: list[np.ndarray] = []
        self.stopwatch = Stopwatch()
        self._training = training
        self._recipe = recipe
        self._progress = Progress(recipe.epochs * len(training), unit="steps")
        self._epoch_started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._training.epoch = epoch
        self._epoch_started = time.monotonic()
        self.stopwatch.start_epoch(self._epoch_started)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # Keras counts whole calls of STEPS_PER_CALL batches, even if the data ends within one.
        done = min(batch + 1, len(self._training))
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self.stopwatch.lap(min(done * self._training.batch_size, self._training.count), time.monotonic())
        self._refuse_infinite("the loss", metrics["loss"])
        epoch = len(self.history)  # from 0
        self._progress.update(
            epoch * len(self._training) + done,
            f"epoch {epoch + 1}/{self._recipe.epochs}  accuracy {metrics['accuracy']:.4f}  "
            f"loss {metrics['cross_entropy']:.4f}",
        )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        ended = Epoch(
            epoch=epoch + 1,
            loss=metrics["cross_entropy"],
            accuracy=metrics["accuracy"],
            val_loss=metrics["val_cross_entropy"],
            val_accuracy=metrics["val_accuracy"],
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=time.monotonic() - self._epoch_started,
        )
        self._refuse_infinite("the loss on validation data", ended.val_loss)
        if not self.history or ended.val_loss < self.best.val_loss:
            self.best, self.best_weights = ended, self.model.get_weights()
        self.history.append(ended)
        say(
            f"epoch {ended.epoch}/{self._recipe.epochs}  loss {ended.loss:.4f}  accuracy {ended.accuracy:.4f}  "
            f"val_loss {ended.val_loss:.4f}  val_accuracy {ended.val_accuracy:.4f}  {ended.seconds:.1f} s"
        )

    def _refuse_infinite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"{what} became {value} in epoch {len(self.history) + 1}: the training steps were too large. "
                f"Lower learning_rate (it is {self._recipe.learning_rate:g})."
            )


class Stopwatch:
    """Measures images per second over the calls of all epochs, without the very first call."""

    def __init__(self) -> None:
        self._images, self._seconds = 0, 0.0
        self._first: tuple[int, float] | None = None  # images and seconds of the first call
        self._done, self._time = 0, 0.0  # at the end of the last call: images of this epoch, and the time in seconds

    def start_epoch(self, now: float) -> None:
        """Record that an epoch begins at second `now`."""
        self._done, self._time = 0, now

    def lap(self, done: int, now: float) -> None:
        """Record that a call ends at second `now`, with `done` images of this epoch finished."""
        images, seconds = done - self._done, now - self._time
        self._done, self._time = done, now
        if self._first is None:
            self._first = images, seconds
        else:
            self._images += images
            self._seconds += seconds

    @property
    def images_per_second(self) -> float:
        """Images per second; those of the first call if there was no other."""
        images, seconds = (self._images, self._seconds) if self._images else self._first or (0, 0.0)
        return images / max(seconds, 1e-9)
