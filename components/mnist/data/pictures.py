"""Read PNG and JPEG files as grey pictures of the model's input size."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.data.preparation import fit, to_grey
from components.mnist.errors import DataError, describe

FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 64_000_000  # more than a phone's camera takes; decoded, that is 256 MB at worst
# A JPEG is decoded at reduced size, but no smaller than this: faster, and in less memory.
DRAFT_SIDE = 4 * IMAGE_SIDE


def read_picture(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a PNG or JPEG file.

    Returns:
        uint8 (28, 28) in the picture's own polarity; and the width and height of the file.

    Raises:
        DataError: The file is not a PNG or JPEG, is damaged, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about sizes that are checked here
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise DataError(
                        f"{path}: a picture of {width:,} x {height:,} pixels; expected at most "
                        f"{MOST_PIXELS // 10**6} million. Make it smaller or leave it out."
                    )
                image.draft("L" if image.mode in ("L", "RGB") else image.mode, (DRAFT_SIDE, DRAFT_SIDE))
                image.load()
                return fit(to_grey(ImageOps.exif_transpose(image))), (width, height)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error} Make it smaller or leave it out.") from error
    except Exception as error:  # the decoders raise a dozen classes for damaged files
        is_empty = not isinstance(error, PermissionError) and path.stat().st_size == 0
        reason = "the file is empty" if is_empty else describe(error).replace(f" '{path}'", "")
        raise DataError(
            f"{path}: cannot be read as a picture ({reason}); expected PNG or JPEG. Save it again or leave it out."
        ) from error
