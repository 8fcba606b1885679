"""One picture of any size and colour to the square that the network reads: grey, 28x28, proportions kept."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.errors import DataError

FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 64_000_000  # more than a telephone takes; decoded, that is 256 MB at worst
# A JPEG is decoded at a fraction of its size where that leaves this much: quicker, and in less memory.
DRAFT_SIDE = 4 * IMAGE_SIDE
LIGHT = 192


def read_picture(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a PNG or JPEG file.

    Returns:
        uint8 (28, 28), as dark and light as the picture is; and the width and height of the file.

    Raises:
        DataError: The file is no such picture, damaged, or unreasonably large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library, about sizes that are judged here
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                _check_size(path, width, height)
                image.draft("L" if image.mode in ("L", "RGB") else image.mode, (DRAFT_SIDE, DRAFT_SIDE))
                image.load()
                return fit(to_grey(ImageOps.exif_transpose(image))), (width, height)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error} Leave it out or make it smaller.") from error
    except Exception as error:  # the decoders raise a dozen classes for damaged files
        raise DataError(
            f"{path}: cannot be read as a picture ({_reason(path, error)}); expected PNG or JPEG. "
            "Save it anew or leave it out."
        ) from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{path}: a picture of {width:,} x {height:,} pixels; expected at most {MOST_PIXELS // 10**6} million. "
            "Make it smaller or leave it out."
        )


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission"
    if path.stat().st_size == 0:
        return "the file is empty"
    text = " ".join(str(error).split())
    return text.replace(f" '{path}'", "") or type(error).__name__


def to_grey(image: Image.Image) -> Image.Image:
    """Turn colour, palettes, transparency and 16 bits into 8-bit grey.

    What is transparent becomes white, or black where the ink itself is near white, so that it can still be seen.
    """
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).clip(0, 255).astype(np.uint8))
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("L")
    image = image.convert("RGBA").convert("LA")
    grey, alpha = (np.asarray(band, np.float32) for band in image.split())
    opacity = alpha / 255
    ink = float((grey * opacity).sum() / max(opacity.sum(), 1.0))
    ground = 0 if ink > LIGHT else 255
    return Image.fromarray(np.rint(grey * opacity + ground * (1 - opacity)).astype(np.uint8))


def fit(image: Image.Image) -> np.ndarray:
    """Bring a grey picture into the square without stretching it, on a ground of its own colour.

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
    if width == height:
        return np.array(small)
    square = Image.new("L", (IMAGE_SIDE, IMAGE_SIDE), int(np.median(border(np.asarray(small)))))
    square.paste(small, ((IMAGE_SIDE - width) // 2, (IMAGE_SIDE - height) // 2))
    return np.array(square)


def border(image: np.ndarray) -> np.ndarray:
    """The outermost pixels of an image, (h, w) to (k,): what is most likely its ground."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
