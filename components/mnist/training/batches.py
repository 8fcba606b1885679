"""Batches of a data set for Keras, read from the memory-mapped images on demand.

Only a few batches at a time are in memory as floats, so memory does not grow with the data.
"""

import math

import keras
import numpy as np

from components.mnist.data.datasets import IMAGE_SIDE, Dataset
from components.mnist.model import scale


class Batches(keras.utils.PyDataset):
    """The batches of one epoch, in order or in a random order with random shifts.

    A batch depends only on the seed, `epoch` and its index: Keras requests some batches more than once, and ahead of
    time in another thread.

    Args:
        dataset: The images and labels.
        batch_size: Images in each batch; the last batch has the rest.
        shift: Largest random shift in each direction, in pixels.
        seed: Seeds the order and the shifts; None for images in order, not shifted.

    Attributes:
        epoch: The epoch that determines order and shifts, from 0; set by the training's callback.
    """

    def __init__(self, dataset: Dataset, *, batch_size: int, shift: int = 0, seed: int | None = None) -> None:
        # Two workers: with one, TensorFlow tunes the reading in a separate thread, which then delays the end of an
        # epoch by seconds. Keras keeps the order.
        super().__init__(workers=2)
        self.count = len(dataset.labels)
        self.epoch = 0
        self._dataset = dataset
        self.batch_size = batch_size
        self._shift = shift
        self._seed = seed
        self._order: tuple[int, np.ndarray] | None = None  # the epoch and its permutation, int64 (count,)

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Make one batch.

        Returns:
            Images float32 (m, 28, 28, 1) in 0..1, and labels one-hot, float32 (m, classes).
        """
        rows: slice | np.ndarray = slice(index * self.batch_size, (index + 1) * self.batch_size)
        epoch = self.epoch  # read once: another thread may set it
        if self._seed is not None:
            order = self._order  # read once as well
            if order is None or order[0] != epoch:
                order = self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(self.count)
            rows = order[1][rows]
        images, labels = self._dataset.images[rows], self._dataset.labels[rows]  # copied from the mapped file here
        if self._seed is not None and self._shift:
            # A generator per batch: the shifts do not depend on the order in which batches are requested.
            images = shift_images(images, self._shift, np.random.default_rng([self._seed, epoch, index]))
        one_hot = np.zeros((len(labels), len(self._dataset.manifest.classes)), np.float32)
        one_hot[np.arange(len(labels)), labels] = 1
        return scale(images), one_hot


def shift_images(images: np.ndarray, shift: int, random: np.random.Generator) -> np.ndarray:
    """Move each image by a random number of whole pixels; fill the edges with background.

    Args:
        images: uint8 (n, 28, 28), ink is 255.
        shift: Largest distance in each of the two directions, in pixels.
        random: Chooses the distances.

    Returns:
        uint8 (n, 28, 28).
    """
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    # Every 28 x 28 window of each padded image, as a view: (n, 2 * shift + 1, 2 * shift + 1, 28, 28).
    windows = np.lib.stride_tricks.sliding_window_view(padded, (IMAGE_SIDE, IMAGE_SIDE), axis=(1, 2))
    down, right = random.integers(0, 2 * shift + 1, (2, len(images)))  # the middle window is the image unmoved
    return windows[np.arange(len(images)), down, right]
