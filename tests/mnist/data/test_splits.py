import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mnist.data.splits import check_enough, split
from components.mnist.errors import DataError


def labels_of(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@given(
    counts=st.lists(st.integers(3, 60), min_size=1, max_size=12),
    leave=st.integers(1, 2),
    fraction=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_split_loses_nothing_and_keeps_the_share_of_every_class(counts, leave, fraction, seed):
    labels = labels_of(counts)
    stay, aside = split(labels, fraction, leave=leave, generator=np.random.default_rng(seed))
    assert np.array_equal(np.sort(np.concatenate([stay, aside])), np.arange(len(labels)))
    for label, count in enumerate(counts):
        kept = int((labels[aside] == label).sum())
        assert 1 <= kept <= count - leave
        assert abs(kept - fraction * count) <= 1


def test_the_number_kept_aside_is_exact_over_all_classes():
    stay, aside = split(labels_of([101, 102, 103, 104, 95]), 0.2, leave=1, generator=np.random.default_rng(0))
    assert (len(stay), len(aside)) == (404, 101)


def test_the_seed_decides_which_images():
    labels = labels_of([50, 50])
    first, again, other = (split(labels, 0.2, leave=1, generator=np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("counts", "parts", "words"),
    [
        ([9, 1], ("training", "validation"), "class dog has 1 image; training and validation need one each, so 2"),
        (
            [2, 9],
            ("training", "validation", "test"),
            "class cat has 2 images; training, validation and test need one each",
        ),
    ],
)
def test_a_class_that_is_too_small_for_the_split_is_named(counts, parts, words):
    with pytest.raises(DataError, match=f"pets.npz: {words}"):
        check_enough("pets.npz", np.array(counts), ("cat", "dog"), parts=parts)


def test_a_class_with_one_image_for_each_part_is_enough():
    check_enough("pets.npz", np.array([3, 3]), ("cat", "dog"), parts=("training", "validation", "test"))
