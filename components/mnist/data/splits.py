"""Keep part of the images aside, the same share of every class, by a seed.

scikit-learn does this too, but importing it takes longer than reading the whole of MNIST.
"""

import numpy as np

from components.mnist.errors import DataError


def split(
    labels: np.ndarray, fraction: float, *, leave: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Part indices in two, both with the classes in the proportions of the whole.

    Args:
        labels: integers (n,) from 0, every class more than `leave` times.
        fraction: Share that is kept aside, above 0 and below 1.
        leave: Images of each class that stay at least, whatever the share.

    Returns:
        int64 indices that stay and that are kept aside, ascending. The latter are round(fraction * n), as far as each
        class has one among them and enough stay.
    """
    counts = np.bincount(labels)
    aside = [
        generator.permutation(np.flatnonzero(labels == label))[:share]
        for label, share in enumerate(_shares(counts, fraction, leave))
    ]
    chosen = np.zeros(len(labels), bool)
    chosen[np.concatenate(aside)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _shares(counts: np.ndarray, fraction: float, leave: int) -> np.ndarray:
    """Images to keep aside of each class: what is lost by rounding down goes to the largest remainders."""
    exact = counts * fraction
    shares = np.floor(exact).astype(np.int64)
    left_over = round(float(exact.sum())) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:left_over]] += 1
    return np.clip(shares, 1, counts - leave)


def check_enough(name: str, counts: np.ndarray, classes: tuple[str, ...], *, parts: tuple[str, ...]) -> None:
    """Refuse a class with too few images for one in each part.

    Args:
        counts: integers (classes,), images of each class that are to be split.
        parts: Names of what they are split into: ("training", "validation").

    Raises:
        DataError: It names the class.
    """
    smallest = int(np.argmin(counts))
    if counts[smallest] < len(parts):
        images = "1 image" if counts[smallest] == 1 else f"{counts[smallest]} images"
        raise DataError(
            f"{name}: class {classes[smallest]} has {images}; {', '.join(parts[:-1])} and {parts[-1]} need one each, "
            f"so {len(parts)} at least. Add images of that class or leave it out."
        )
