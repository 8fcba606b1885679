"""The contents of a source: images with their labels, for training and for the test."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from components.mnist.data.pixels import Range


class Images(Protocol):
    """Images that can be read in order, as often as needed."""

    @property
    def name(self) -> str:
        """File or folder of the images, for messages."""

    @property
    def count(self) -> int:
        """Number of images."""

    @property
    def size(self) -> str:
        """Width and height of images that are not 28x28, for messages; complete once all have been read."""

    def find_range(self) -> Range:
        """Find the smallest and largest pixel."""

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Read the images in blocks of uint8 (m, 28, 28), with pixels multiplied by `scale`."""


@dataclass(frozen=True)
class Part:
    """Images with their labels, int64 (n,), not negative."""

    images: Images
    labels: np.ndarray


@dataclass
class Contents:
    """The contents of a source.

    Attributes:
        training: At least one part.
        test: Empty where the source has no test split.
        classes: Names of the classes; empty where labels are only numbers.
        kind: The format, for messages: "an .npz file".
        notes: Remarks for the user, one sentence each.
    """

    training: list[Part] = field(default_factory=list)
    test: list[Part] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    kind: str = ""
    notes: list[str] = field(default_factory=list)
