"""Convert pictures to the model's input: grey, 28x28, light ink on a dark background.

Works on pictures and arrays in memory: knows neither files nor sources.
"""

import numpy as np
from PIL import Image

from components.mnist.data.datasets import IMAGE_SIDE

LIGHT = 192  # least mean grey of light ink, 0 to 255
CLEAR = 2 / 3  # share of the pictures that must agree on a polarity


def to_grey(image: Image.Image) -> Image.Image:
    """Convert colour, palettes, transparency and 16 bits to 8-bit grey.

    Transparent pixels become white, or black where the ink itself is nearly white, so that it stays visible.
    """
    if image.mode.startswith("I"):  # 16 bits, 0 to 65535
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).clip(0, 255).astype(np.uint8))
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("L")
    # By way of RGBA, since not every mode converts to LA.
    grey, alpha = (np.asarray(band, np.float32) for band in image.convert("RGBA").convert("LA").split())
    opacity = alpha / 255
    ink = float((grey * opacity).sum() / max(opacity.sum(), 1.0))
    background = 0 if ink > LIGHT else 255
    return Image.fromarray(np.rint(grey * opacity + background * (1 - opacity)).astype(np.uint8))


def fit(image: Image.Image) -> np.ndarray:
    """Scale a grey picture to 28x28 without distortion; the margins get the colour of its border.

    Args:
        image: 8-bit grey, any size.

    Returns:
        uint8 (28, 28).
    """
    if image.size == (IMAGE_SIDE, IMAGE_SIDE):
        return np.array(image)
    scale = IMAGE_SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.array(small)
    if width == height:
        return pixels
    # The outermost pixels are most likely background.
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    square = Image.new("L", (IMAGE_SIDE, IMAGE_SIDE), int(np.median(border)))
    square.paste(small, ((IMAGE_SIDE - width) // 2, (IMAGE_SIDE - height) // 2))
    return np.array(square)


def share_of_dark(images: np.ndarray) -> float | None:
    """Return the share of pictures with dark ink: those whose background is lighter than the picture on average.

    The background is the median of the two outermost rows and columns: ink that touches the border, or a photo's uneven
    light, does not change it.

    Args:
        images: uint8 (n, 28, 28), a sample spread over the whole source.

    Returns:
        0 to 1, of the pictures that are not blank; None where all are.
    """
    ring = np.ones(images.shape[1:], bool)
    ring[2:-2, 2:-2] = False
    background = np.median(images[:, ring], axis=1)
    average = images.mean(axis=(1, 2))
    voting = background != average
    return float((background > average)[voting].mean()) if voting.any() else None


def decide_inversion(images: np.ndarray, polarity: str) -> tuple[bool, str]:
    """Decide whether pictures must be inverted, so that their ink is light.

    Args:
        images: uint8 (n, 28, 28), a sample spread over the whole source.
        polarity: `light` and `dark` are obeyed; `auto` examines the pictures.

    Returns:
        Whether to invert, and a sentence for the user; empty where there is nothing to report.
    """
    dark = share_of_dark(images)
    if polarity == "dark":
        doubt = (
            f", although {1 - dark:.0%} of them seem to have light ink" if dark is not None and dark < 1 - CLEAR else ""
        )
        return True, f"Inverted the pictures, as set by polarity=dark{doubt}."
    if dark is None or dark <= 1 - CLEAR:
        return False, ""
    if polarity == "light":
        doubt = f"Left the pictures as they are, as set by polarity=light, although {dark:.0%} seem to have dark ink."
        return False, doubt if dark > CLEAR else ""
    if dark >= CLEAR:
        return True, (
            f"Inverted dark ink on a light background ({dark:.0%} of the pictures have it); polarity=light keeps it."
        )
    return False, (
        f"The polarity is unclear ({dark:.0%} of the pictures seem to have dark ink): left as it is; polarity=dark "
        "inverts the pictures."
    )
