"""What a local file or folder holds, whichever of the usual forms it has."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from components.mnist.archives import open_npz
from components.mnist.arrays import StoredArray
from components.mnist.errors import DataError
from components.mnist.labels import read_labels
from components.mnist.pixels import Range, open_images

# Pairs of keys, in lower case, under which images and labels are found.
TRAINING_KEYS = (("x_train", "y_train"), ("train_images", "train_labels"), ("train_x", "train_y"))
TEST_KEYS = (("x_test", "y_test"), ("test_images", "test_labels"), ("test_x", "test_y"))
WHOLE_KEYS = (("x", "y"), ("images", "labels"), ("data", "target"), ("data", "labels"))


class Images(Protocol):
    """Images that can be read in order, as often as needed."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def size(self) -> str:
        """Height and width as they arrive, for a person."""

    @property
    def fits(self) -> bool:
        """Whether they arrive grey and in the network's size."""

    def find_range(self) -> Range:
        """The smallest and largest pixel."""

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Blocks of uint8 (m, 28, 28), after multiplying pixels by `scale`."""


@dataclass(frozen=True)
class Part:
    """Some images with a label each: int64 (n,), not negative."""

    images: Images
    labels: np.ndarray


@dataclass
class Contents:
    """What was found.

    Attributes:
        training: At least one part.
        test: Empty where the source has no split of its own.
        classes: Their names; empty where labels are only numbers.
        kind: In words: "an .npz file".
        notes: What a person should know, a sentence each.
    """

    training: list[Part] = field(default_factory=list)
    test: list[Part] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    kind: str = ""
    notes: list[str] = field(default_factory=list)


def open_contents(path: Path) -> Contents:
    """Find out what a file or folder holds; images are not read yet.

    Raises:
        DataError: Nothing usable is there, or it is damaged.
    """
    contents = Contents(kind="an .npz file")
    add_npz(path, contents)
    return contents


def add_npz(path: Path, contents: Contents) -> None:
    """Add the images and labels of an .npz file to what was found so far."""
    arrays = open_npz(path)
    keys = {key.lower(): key for key in arrays}
    used: set[str] = set()
    for parts, pairs in ((contents.training, TRAINING_KEYS + WHOLE_KEYS), (contents.test, TEST_KEYS)):
        for pair in pairs:
            if all(name in keys for name in pair) and not used & set(pair):
                images, labels = (arrays[keys[name]] for name in pair)
                parts.append(pair_up(images, labels))
                used |= set(pair)
                break
    if not used:
        raise DataError(
            f"{path}: has the arrays {', '.join(arrays)}; expected x_train, y_train, x_test, y_test, or train_images, "
            "train_labels, test_images, test_labels, or X and y. Save it again under such names."
        )
    if left := [key for lower, key in keys.items() if lower not in used]:
        contents.notes.append(f"Left out of {path.name}: {', '.join(left)}.")


def pair_up(images: StoredArray, labels: StoredArray) -> Part:
    """Put images and their labels together.

    Raises:
        DataError: Their counts differ, or one of them is not what it should be.
    """
    if images.count != labels.count:
        raise DataError(
            f"{images.name}: {images.count:,} images, shape {images.shape}, but {labels.count:,} labels in {labels.name}; "
            "expected a label for each image, counted along the first axis. Get or save it again."
        )
    return Part(open_images(images), read_labels(labels))
