"""Batches have every image once an epoch, and depend on nothing but the seed, the epoch and their index."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from components.mnist.training import devices

devices.prepare_keras()

from components.mnist.data.datasets import Dataset, read_dataset, write_dataset  # noqa: E402
from components.mnist.model import scale  # noqa: E402
from components.mnist.training.batches import Batches, shift_images  # noqa: E402


@pytest.fixture
def dataset(tmp_path: Path, digits: dict[str, np.ndarray]) -> Dataset:
    return write(tmp_path / "training", digits["x_train"], digits["y_train"])


def write(folder: Path, images: np.ndarray, labels: np.ndarray) -> Dataset:
    """Make a data set folder and open it."""
    write_dataset(
        folder,
        [(images, labels)],
        split="training",
        count=len(labels),
        classes=tuple("0123456789"),
        source="sample",
        origin="sample.npz",
        settings={},
        notes=(),
    )
    return read_dataset(folder)


def test_batches_in_order_are_the_data_as_it_is(dataset: Dataset) -> None:
    batches = Batches(dataset, batch_size=64)
    images, labels = zip(*[batches[index] for index in range(len(batches))], strict=True)
    assert [len(part) for part in images] == [64, 64, 64, 8]
    np.testing.assert_array_equal(np.concatenate(images), scale(dataset.images))
    one_hot = np.concatenate(labels)
    assert one_hot.shape == (200, 10)
    np.testing.assert_array_equal(one_hot.argmax(axis=1), dataset.labels)
    np.testing.assert_array_equal(one_hot.sum(axis=1), 1)


def test_pixels_are_float32_from_0_to_1(dataset: Dataset) -> None:
    images, labels = Batches(dataset, batch_size=200, shift=1, seed=0)[0]
    assert (images.dtype, labels.dtype, images.shape) == (np.float32, np.float32, (200, 28, 28, 1))
    assert (images.min(), images.max()) == (0, 1)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(dataset: Dataset) -> None:
    batches = Batches(dataset, batch_size=64, shift=0, seed=3)
    epochs = []
    for batches.epoch in range(2):
        images = np.concatenate([batches[index][0] for index in range(len(batches))])
        epochs.append([image.tobytes() for image in images])
    everything = sorted(image.tobytes() for image in scale(dataset.images))
    assert [sorted(epoch) for epoch in epochs] == [everything, everything]
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_seed_epoch_and_index_only(dataset: Dataset) -> None:
    first, second = (Batches(dataset, batch_size=64, shift=2, seed=3) for _ in range(2))
    for epoch, index in itertools.product(range(2), range(4)):
        first.epoch = second.epoch = epoch
        second[0], second[3]  # asked for more than once, and in another order
        for part, again in zip(first[index], second[index], strict=True):
            np.testing.assert_array_equal(part, again)
    other = Batches(dataset, batch_size=64, shift=2, seed=4)
    other.epoch = first.epoch
    assert not np.array_equal(other[0][0], first[0][0])


def test_labels_stay_with_their_images(dataset: Dataset) -> None:
    labels = dict(zip([image.tobytes() for image in scale(dataset.images)], dataset.labels, strict=True))
    images, one_hot = Batches(dataset, batch_size=200, shift=0, seed=1)[0]
    assert [labels[image.tobytes()] for image in images] == one_hot.argmax(axis=1).tolist()


@pytest.mark.parametrize("shift", [1, 3])
def test_an_image_moves_by_at_most_the_shift_in_each_direction(digits: dict[str, np.ndarray], shift: int) -> None:
    images = digits["x_train"]
    moved = shift_images(images, shift, np.random.default_rng(0))
    distances = range(-shift, shift + 1)
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    seen = set()
    for original, image in zip(padded, moved, strict=True):
        moves = [
            (down, right)
            for down, right in itertools.product(distances, distances)
            if np.array_equal(np.roll(original, (down, right), (0, 1))[shift:-shift, shift:-shift], image)
        ]
        assert moves
        seen.update(moves)
    assert seen == set(itertools.product(distances, distances))


def test_memory_holds_one_batch_and_not_the_data(tmp_path: Path, digits: dict[str, np.ndarray]) -> None:
    dataset = write(tmp_path / "many", np.tile(digits["x_train"], (50, 1, 1)), np.tile(digits["y_train"], 50))
    batches = Batches(dataset, batch_size=100, shift=1, seed=0)
    tracemalloc.start()
    for index in range(len(batches)):
        batches[index]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dataset.images.nbytes > 7_000_000
    assert peak < 2_000_000  # a batch in float32 is 314,000 bytes
