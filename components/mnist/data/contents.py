"""What was found at a source: images with their labels, for training and for the test."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from components.mnist.data.pixels import Range


class Images(Protocol):
    """Images that can be read in order, as often as needed."""

    @property
    def name(self) -> str:
        """Their file or folder, for messages."""

    @property
    def count(self) -> int:
        """Number of images."""

    @property
    def size(self) -> str:
        """Width and height of those that are not 28x28, for messages; complete once they were read."""

    def find_range(self) -> Range:
        """The smallest and largest pixel."""

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Blocks of uint8 (m, 28, 28), whose pixels were multiplied by `scale`."""


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
        test: Empty where the source has no test split.
        classes: Their names; empty where labels are only numbers.
        kind: The format, for messages: "an .npz file".
        notes: What a person should know, a sentence each.
    """

    training: list[Part] = field(default_factory=list)
    test: list[Part] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    kind: str = ""
    notes: list[str] = field(default_factory=list)
