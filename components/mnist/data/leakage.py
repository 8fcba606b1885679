"""Data leakage: test images that also occur, pixel for pixel, in the data that a model was trained on."""

import numpy as np


def count_repeated(test: np.ndarray, *others: np.ndarray) -> int:
    """Count the test images that occur, pixel for pixel, in one of the other sets.

    Reads every image once, and keeps one number per test image in memory.

    Args:
        test, others: uint8 (n, 28, 28), may be memory-mapped.
    """
    # 64 bits an image: even among millions, an accidental match is less likely than a memory error.
    hashes = [hash(image.tobytes()) for image in test]
    tested = set(hashes)
    repeated = {found for other in others for image in other if (found := hash(image.tobytes())) in tested}
    return sum(each in repeated for each in hashes)
