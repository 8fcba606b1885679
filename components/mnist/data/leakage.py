"""Find test images that a model may have learned by heart: the same pixels in the data that it was trained with."""

import numpy as np

from components.mnist.data.datasets import BLOCK


def count_repeated(test: np.ndarray, *others: np.ndarray) -> int:
    """Count the test images that occur, pixel for pixel, in one of the other sets.

    Reads everything once, a block at a time, and keeps one number per test image in memory.

    Args:
        test, others: uint8 (n, 28, 28), may be memory-mapped.
    """
    # 64 bits an image: among millions, an accidental match is less likely than a fault of the memory.
    prints = [hash(image.tobytes()) for block in _blocks(test) for image in block]
    wanted = set(prints)
    seen = {
        found
        for other in others
        for block in _blocks(other)
        for image in block
        if (found := hash(image.tobytes())) in wanted
    }
    return sum(mark in seen for mark in prints)


def _blocks(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BLOCK] for start in range(0, len(images), BLOCK)]
