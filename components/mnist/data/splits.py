"""Stratified random splits, determined by a seed.

scikit-learn does this too, but importing it takes longer than reading the whole of MNIST.
"""

import numpy as np

from components.mnist.errors import DataError


def split(
    labels: np.ndarray, fraction: float, *, leave: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split indices into two parts, stratified by class.

    Args:
        labels: integers (n,) from 0, every class more than `leave` times.
        fraction: Share that is kept aside, above 0 and below 1.
        leave: Least number of images of each class that remain.

    Returns:
        int64 indices of the images that remain and of those kept aside, ascending. The latter are round(fraction * n),
        unless a class would then have none of them, or fewer than `leave` images would remain.
    """
    counts = np.bincount(labels)
    exact = counts * fraction
    shares = np.floor(exact).astype(np.int64)
    # Images lost by rounding down go to the classes with the largest remainders.
    left_over = round(float(exact.sum())) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:left_over]] += 1
    shares = np.clip(shares, 1, counts - leave)
    is_aside = np.zeros(len(labels), bool)
    for label, share in enumerate(shares):
        is_aside[generator.permutation(np.flatnonzero(labels == label))[:share]] = True
    return np.flatnonzero(~is_aside), np.flatnonzero(is_aside)


def choose_splits(
    labels: np.ndarray, count: int, *, validation_fraction: float, test_fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """Choose the images of each split.

    Args:
        labels: integers (n,) from 0, of all images of a source.
        count: Number of images for training, from the first; the others are the source's own test split. Where there
            is none, a test is split off.

    Returns:
        int64 indices of "training", "validation" and "test"; those for training in random order, so that any slice is a
        fair sample.
    """
    generator = np.random.default_rng(seed)
    rest, test = np.arange(count), np.arange(count, len(labels))
    if not len(test):
        rest, test = split(labels, test_fraction, leave=2, generator=generator)
    training, validation = split(labels[rest], validation_fraction, leave=1, generator=generator)
    return {"training": generator.permutation(rest[training]), "validation": rest[validation], "test": test}


def check_enough(name: str, counts: np.ndarray, classes: tuple[str, ...], *, parts: tuple[str, ...]) -> None:
    """Check that each class has an image for each part.

    Args:
        counts: integers (classes,), images of each class that are to be split.
        parts: Names of the parts: ("training", "validation").

    Raises:
        DataError: A class is too small; the message names it.
    """
    smallest = int(np.argmin(counts))
    if counts[smallest] < len(parts):
        images = "1 image" if counts[smallest] == 1 else f"{counts[smallest]} images"
        raise DataError(
            f"{name}: class {classes[smallest]} has {images}; {', '.join(parts[:-1])} and {parts[-1]} need one each, "
            f"so {len(parts)} at least. Add images of that class or leave it out."
        )
