"""Batches of a data set for Keras, cut from the memory-mapped images as they are needed.

Only one batch at a time is in memory as floats, so memory does not grow with the data.
"""

import keras
import numpy as np

from components.mnist.data.datasets import IMAGE_SIDE, Dataset
from components.mnist.model import scale


class Batches(keras.utils.PyDataset):
    """The batches of one epoch, in order or in a random order with random shifts.

    A batch depends on nothing but the seed, `epoch` and its index: Keras asks for some batches more than once, and
    ahead of time in another thread.

    Args:
        dataset: What is cut.
        batch_size: Images in each batch; the last has what is left.
        shift: Largest random shift in each direction, in pixels.
        seed: Starts the random choices; None for the images in order, as they are.

    Attributes:
        epoch: Which epoch's order and shifts are given, from 0; whoever drives the training sets it.
    """

    def __init__(self, dataset: Dataset, *, batch_size: int, shift: int, seed: int | None) -> None:
        # Two workers: with one, TensorFlow tunes the reading in a thread of its own, which then holds up the end of an
        # epoch for seconds. Keras keeps the order.
        super().__init__(workers=2)
        self.count = len(dataset.labels)
        self.epoch = 0
        self._dataset = dataset
        self.batch_size = batch_size
        self._shift = shift
        self._seed = seed
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut one batch.

        Returns:
            Images float32 (m, 28, 28, 1) in 0..1, and labels one-hot, float32 (m, classes).
        """
        epoch = self.epoch
        rows: slice | np.ndarray = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self._seed is not None:
            rows = self._shuffled(epoch, self._seed)[rows]
        images, labels = self._dataset.images[rows], self._dataset.labels[rows]
        if self._seed is not None and self._shift:
            images = shift_images(images, self._shift, np.random.default_rng([self._seed, epoch, index]))
        one_hot = np.zeros((len(labels), len(self._dataset.manifest.classes)), np.float32)
        one_hot[np.arange(len(labels)), labels] = 1
        return scale(images), one_hot

    def _shuffled(self, epoch: int, seed: int) -> np.ndarray:
        order = self._order
        if order is None or order[0] != epoch:
            order = self._order = epoch, np.random.default_rng([seed, epoch]).permutation(self.count)
        return order[1]


def shift_images(images: np.ndarray, shift: int, random: np.random.Generator) -> np.ndarray:
    """Move each image by whole pixels of its own choice; what comes in from outside is background.

    Args:
        images: uint8 (n, 28, 28).
        shift: Largest distance in each of the two directions, in pixels.
        random: Where the choices come from.

    Returns:
        uint8 (n, 28, 28).
    """
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (IMAGE_SIDE, IMAGE_SIDE), axis=(1, 2))
    down, right = random.integers(0, 2 * shift + 1, (2, len(images)))
    return windows[np.arange(len(images)), down, right]
