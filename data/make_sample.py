"""Make sample.npz: the handwritten digits that come with scikit-learn, in MNIST's convention.

    python data/make_sample.py

The same versions of scikit-learn and Pillow give the same bytes.
"""

import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SIDE = 28
BOX = 20  # MNIST scales ink to fit a square of 20 pixels
TEST_IMAGES = 360
SEED = 0
FULL_INK = 16  # of a pixel in the original


def main(path: Path) -> None:
    """Write the sample."""
    digits = load_digits()
    images = np.stack([draw(image) for image in digits.images])
    labels = digits.target.astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_IMAGES, stratify=labels, random_state=SEED
    )
    write(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    print(f"{path}: {len(x_train):,} training and {len(x_test):,} test images, {path.stat().st_size:,} bytes")


def draw(pixels: np.ndarray) -> np.ndarray:
    """Scale one digit to the box and centre it.

    Args:
        pixels: (8, 8), 0 to 16.

    Returns:
        uint8 (28, 28), ink is 255.
    """
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    ink = Image.fromarray((pixels / FULL_INK * 255).astype(np.float32))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    scale = BOX / max(box[2] - box[0], box[3] - box[1])
    size = (round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale))
    small = np.asarray(ink.resize(size, Image.Resampling.BICUBIC, box)).clip(0, 255)
    return centre(np.rint(small).astype(np.uint8))


def centre(ink: np.ndarray) -> np.ndarray:
    """Put a drawing on an empty square so that its centre of mass is in the middle, as in MNIST."""
    rows, columns = np.indices(ink.shape)
    top = round(SIDE / 2 - 0.5 - float((rows * ink.astype(float)).sum()) / ink.sum())
    left = round(SIDE / 2 - 0.5 - float((columns * ink.astype(float)).sum()) / ink.sum())
    top, left = (min(max(start, 0), SIDE - length) for start, length in zip((top, left), ink.shape, strict=True))
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return square


def write(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz with fixed times, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = BytesIO()
            np.save(data, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(member, data.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("sample.npz"))
