"""Arrays of images in any layout and any usual range of numbers, to uint8 (n, 28, 28)."""

import functools
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.mnist.data.arrays import StoredArray
from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.data.pictures import fit, to_grey
from components.mnist.errors import DataError

LAYOUTS = "(n, height, width), with a channel axis of 1, 3 or 4 first or last, or flat (n, 784)"
CHANNELS = (1, 3, 4)
LEAST_SIDE = 4
LEAST_FLAT_SIDE = 8
MOST_VALUES = 4_000_000  # of one image in an array: 2000 x 2000; as float64 that is 32 MB
ROUNDING = 1e-5  # how far outside a range computed pixels may lie


@dataclass(frozen=True)
class Range:
    """The smallest and the largest pixel of a source, over all its images."""

    low: float
    high: float

    def __or__(self, other: "Range") -> "Range":
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def scale(self) -> int:
        """What pixels are multiplied by to reach 0..255: pixels up to 1 are taken for 0..1, all others for 0..255."""
        return 255 if self.high <= 1 + ROUNDING else 1


@dataclass(frozen=True)
class ArrayImages:
    """Images in an array."""

    array: StoredArray
    height: int
    width: int
    channels: int
    channels_first: bool

    @property
    def name(self) -> str:
        """Where they are, for messages."""
        return self.array.name

    @property
    def count(self) -> int:
        """How many there are."""
        return self.array.count

    @property
    def fits(self) -> bool:
        """Whether the images have the network's size and no colour, so that only their numbers may need a change."""
        return (self.height, self.width, self.channels) == (IMAGE_SIDE, IMAGE_SIDE, 1)

    @property
    def size(self) -> str:
        """Width and height for a person; empty where the images fit."""
        colour = "" if self.channels == 1 else " in colour"
        return "" if self.fits else f"{self.width}x{self.height}{colour}"

    def find_range(self) -> Range:
        """Read all pixels once for the smallest and largest.

        Raises:
            DataError: A pixel is NaN or infinite, or the file is damaged.
        """
        low, high, start = math.inf, -math.inf, 0
        for block in self.array.blocks():
            if block.dtype.kind == "f" and not np.isfinite(block).all():
                bad = start + int(np.argmin(np.isfinite(block).reshape(len(block), -1).all(axis=1)))
                raise DataError(
                    f"{self.array.name}: image {bad} has pixels that are NaN or infinite; expected numbers "
                    "from 0 to 1 or 0 to 255. Repair it or leave it out."
                )
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            start += len(block)
        return Range(low, high)

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Read the images in order, ready for a data set.

        Args:
            scale: What pixels are multiplied by, from the range of the whole source.

        Returns:
            Blocks of uint8 (m, 28, 28).
        """
        for block in self.array.blocks():
            pixels = _to_bytes(block, scale)
            if self.fits:
                yield pixels.reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
                continue
            axes = (self.channels, self.height, self.width) if self.channels_first else (self.height, self.width, -1)
            pixels = pixels.reshape(len(block), *axes)
            if self.channels_first:
                pixels = np.moveaxis(pixels, 1, 3)
            yield np.stack([fit(to_grey(_to_image(image))) for image in pixels])


def _to_bytes(block: np.ndarray, scale: int) -> np.ndarray:
    if block.dtype.kind == "f":
        block = block.astype(np.float32) * np.float32(scale)
        return np.rint(block, out=block).clip(0, 255).astype(np.uint8)
    return block.astype(np.uint8) * np.uint8(scale)


def _to_image(pixels: np.ndarray) -> Image.Image:
    """uint8 (h, w, 1, 3 or 4) to a picture."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def open_images(array: StoredArray) -> ArrayImages:
    """Understand an array's shape as images.

    Raises:
        DataError: The shape cannot be that of images.
    """
    images = _read_layout(array)
    if images is None or min(images.height, images.width) < LEAST_SIDE:
        raise DataError(f"{array.name}: the shape {array.shape} cannot be images; expected {LAYOUTS}.")
    if math.prod(array.shape[1:]) > MOST_VALUES:
        raise DataError(
            f"{array.name}: images of {math.prod(array.shape[1:]):,} values each, shape {array.shape}; expected at "
            f"most {MOST_VALUES:,}. Make the images smaller: the network reads 28x28."
        )
    return images


def _read_layout(array: StoredArray) -> ArrayImages | None:
    match array.shape:
        case (_, flat) if math.isqrt(flat) ** 2 == flat and flat >= LEAST_FLAT_SIDE**2:
            return ArrayImages(array, math.isqrt(flat), math.isqrt(flat), 1, False)
        case (_, height, width):
            return ArrayImages(array, height, width, 1, False)
        case (_, height, width, channels) if channels in CHANNELS:
            return ArrayImages(array, height, width, channels, False)
        case (_, channels, height, width) if channels in CHANNELS:
            return ArrayImages(array, height, width, channels, True)
    return None


def join_ranges(name: str, ranges: dict[str, Range]) -> Range:
    """The range of a source from those of its parts, by their names.

    Raises:
        DataError: Numbers are no pixels, parts are of different kinds, or every pixel is the same.
    """
    for part, pixels in ranges.items():
        _check_range(part, pixels)
    dim, bright = min(ranges, key=lambda part: ranges[part].high), max(ranges, key=lambda part: ranges[part].high)
    if ranges[dim].high > 0 and ranges[dim].scale > ranges[bright].scale:
        raise DataError(
            f"{dim}: pixels up to {ranges[dim].high:g}, but up to {ranges[bright].high:g} in {bright}; expected 0 to 1 "
            "or 0 to 255 in both. Bring them to the same range and save again."
        )
    whole = functools.reduce(operator.or_, ranges.values())
    if whole.low == whole.high:
        raise DataError(
            f"{name}: every pixel of every image is {whole.low:g}; expected pictures. Was the array filled before "
            "it was saved?"
        )
    return whole


def _check_range(name: str, pixels: Range) -> None:
    if pixels.low < -ROUNDING or pixels.high > 255 + 255 * ROUNDING:
        advice = "Undo the normalisation" if pixels.low < 0 else "Divide by 257" if pixels.high > 4095 else "Rescale"
        raise DataError(
            f"{name}: pixels from {pixels.low:g} to {pixels.high:g}; expected 0 to 1 or 0 to 255. "
            f"{advice} and save again."
        )
