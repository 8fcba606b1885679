import numpy as np
import pytest

from components.mnist.data.polarity import judge, share_of_dark


def photograph(images: np.ndarray) -> np.ndarray:
    """Dark ink on paper, lit from one side, with noise."""
    light = np.linspace(140, 235, 28)[None, None, :]
    noise = np.random.default_rng(0).normal(0, 6, images.shape)
    return (light * (1 - 0.8 * images / 255) + noise).clip(0, 255).astype(np.uint8)


def test_real_digits_are_told_from_their_negatives(digits):
    assert share_of_dark(digits["x_train"]) < 0.02
    assert share_of_dark(255 - digits["x_train"]) > 0.98


def test_photographs_of_ink_on_paper_are_told(digits):
    assert share_of_dark(photograph(digits["x_train"])) > 0.98


def test_ink_that_touches_the_border_does_not_deceive(digits):
    grown = digits["x_train"][:, 4:24, 4:24].repeat(2, 1).repeat(2, 2)[:, 6:34, 6:34]
    assert share_of_dark(grown) < 0.1
    assert share_of_dark(255 - grown) > 0.9


def test_blank_pictures_do_not_vote(digits):
    blank = np.full((100, 28, 28), 255, np.uint8)
    assert share_of_dark(blank) is None
    assert share_of_dark(np.concatenate([blank, digits["x_train"]])) < 0.02
    assert judge(blank, "auto") == (False, "")


@pytest.mark.parametrize(
    ("dark", "polarity", "turn", "words"),
    [
        (0.0, "auto", False, ""),
        (
            1.0,
            "auto",
            True,
            "Turned dark ink on a light ground round (100% of the pictures look so); polarity=light keeps it.",
        ),
        (
            0.5,
            "auto",
            False,
            "Which way round the ink is cannot be told (50% of the pictures look dark): left as it is;",
        ),
        (0.0, "light", False, ""),
        (1.0, "light", False, "Left the pictures as they are, as polarity=light asks, although 100% look dark."),
        (1.0, "dark", True, "Turned the pictures round, as polarity=dark asks."),
        (0.0, "dark", True, "although 100% of them look like light ink already."),
    ],
)
def test_the_decision_is_told_where_there_is_something_to_tell(digits, dark, polarity, turn, words):
    images = digits["x_train"].copy()
    count = int(dark * len(images))
    images[:count] = 255 - images[:count]
    turned, sentence = judge(images, polarity)
    assert turned is turn
    assert words in sentence
    assert bool(words) == bool(sentence)
