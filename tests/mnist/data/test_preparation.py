import numpy as np
import pytest
from PIL import Image, ImageDraw

from components.mnist.data.preparation import decide_inversion, fit, share_of_dark, to_grey


def photograph(images: np.ndarray) -> np.ndarray:
    """Dark ink on paper, lit from one side, with noise."""
    light = np.linspace(140, 235, 28)[None, None, :]
    noise = np.random.default_rng(0).normal(0, 6, images.shape)
    return (light * (1 - 0.8 * images / 255) + noise).clip(0, 255).astype(np.uint8)


def test_real_digits_are_distinguished_from_their_negatives(digits):
    assert share_of_dark(digits["x_train"]) < 0.02
    assert share_of_dark(255 - digits["x_train"]) > 0.98


def test_photographs_of_ink_on_paper_are_reported(digits):
    assert share_of_dark(photograph(digits["x_train"])) > 0.98


def test_ink_that_touches_the_border_does_not_count_as_background(digits):
    grown = digits["x_train"][:, 4:24, 4:24].repeat(2, 1).repeat(2, 2)[:, 6:34, 6:34]
    assert share_of_dark(grown) < 0.1
    assert share_of_dark(255 - grown) > 0.9


def test_blank_pictures_do_not_vote(digits):
    blank = np.full((100, 28, 28), 255, np.uint8)
    assert share_of_dark(blank) is None
    assert share_of_dark(np.concatenate([blank, digits["x_train"]])) < 0.02
    assert decide_inversion(blank, "auto") == (False, "")


@pytest.mark.parametrize(
    ("dark", "polarity", "is_inverted", "words"),
    [
        (0.0, "auto", False, ""),
        (
            1.0,
            "auto",
            True,
            "Inverted dark ink on a light background (100% of the pictures have it); polarity=light keeps it.",
        ),
        (
            0.5,
            "auto",
            False,
            "The polarity is unclear (50% of the pictures seem to have dark ink): left as it is;",
        ),
        (0.0, "light", False, ""),
        (
            1.0,
            "light",
            False,
            "Left the pictures as they are, as set by polarity=light, although 100% seem to have dark ink.",
        ),
        (1.0, "dark", True, "Inverted the pictures, as set by polarity=dark."),
        (0.0, "dark", True, "although 100% of them seem to have light ink."),
    ],
)
def test_the_decision_is_explained_where_it_may_surprise(digits, dark, polarity, is_inverted, words):
    images = digits["x_train"].copy()
    count = int(dark * len(images))
    images[:count] = 255 - images[:count]
    inverted, sentence = decide_inversion(images, polarity)
    assert inverted is is_inverted
    assert words in sentence
    assert bool(words) == bool(sentence)


def test_scaling_does_not_change_the_average_much():
    image = Image.new("RGB", (560, 560), "white")
    ImageDraw.Draw(image).rectangle((186, 70, 373, 490), fill="black")
    grey = to_grey(image)
    assert abs(fit(grey).mean() - np.asarray(grey).mean()) < 3
