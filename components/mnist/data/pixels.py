"""Convert arrays of images, in any layout and any usual range of pixels, to uint8 (n, 28, 28)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.mnist.data.arrays import StoredArray
from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.data.preparation import fit, to_grey
from components.mnist.errors import DataError

LAYOUTS = "(n, height, width), with a channel axis of 1, 3 or 4 first or last, or flat (n, 784)"
CHANNELS = (1, 3, 4)
LEAST_SIDE = 4
LEAST_FLAT_SIDE = 8
MOST_VALUES = 4_000_000  # of one image in an array: 2000 x 2000; as float64 that is 32 MB
ROUNDING = 1e-5  # tolerance for computed pixels that lie just outside a range


@dataclass(frozen=True)
class Range:
    """The smallest and the largest pixel of a source, over all its images."""

    low: float
    high: float

    @property
    def scale(self) -> int:
        """The factor that scales pixels to 0..255: pixels up to 1 are taken for 0..1, all others for 0..255."""
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
        """File and array of the images, for messages."""
        return self.array.name

    @property
    def count(self) -> int:
        """Number of images."""
        return self.array.count

    @property
    def fits(self) -> bool:
        """Whether the images are 28x28 and grey, so that only their range of pixels may have to change."""
        return (self.height, self.width, self.channels) == (IMAGE_SIDE, IMAGE_SIDE, 1)

    @property
    def size(self) -> str:
        """Width and height for messages; empty where the images fit."""
        colour = "" if self.channels == 1 else " in colour"
        return "" if self.fits else f"{self.width}x{self.height}{colour}"

    def find_range(self) -> Range:
        """Read all pixels once to find the smallest and largest.

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
        """Read the images in order, grey and 28x28, in their own polarity.

        Args:
            scale: The factor for pixels, from the range of the whole source.

        Returns:
            Blocks of uint8 (m, 28, 28).
        """
        for block in self.array.blocks():
            if block.dtype.kind == "f":
                scaled = block.astype(np.float32) * np.float32(scale)
                pixels = np.rint(scaled, out=scaled).clip(0, 255).astype(np.uint8)
            else:
                pixels = block.astype(np.uint8) * np.uint8(scale)
            if self.fits:
                yield pixels.reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
                continue
            if self.channels_first:
                pixels = np.moveaxis(pixels.reshape(-1, self.channels, self.height, self.width), 1, 3)
            shape = (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)
            pixels = np.ascontiguousarray(pixels).reshape(-1, *shape)
            yield np.stack([fit(to_grey(Image.fromarray(image))) for image in pixels])


def open_images(array: StoredArray) -> ArrayImages:
    """Interpret an array as images, by its shape.

    Raises:
        DataError: The shape cannot be that of images.
    """
    images = None
    match array.shape:
        case (_, flat) if math.isqrt(flat) ** 2 == flat and flat >= LEAST_FLAT_SIDE**2:
            images = ArrayImages(array, math.isqrt(flat), math.isqrt(flat), 1, channels_first=False)
        case (_, height, width):
            images = ArrayImages(array, height, width, 1, channels_first=False)
        case (_, height, width, channels) if channels in CHANNELS:
            images = ArrayImages(array, height, width, channels, channels_first=False)
        case (_, channels, height, width) if channels in CHANNELS:
            images = ArrayImages(array, height, width, channels, channels_first=True)
    if images is None or min(images.height, images.width) < LEAST_SIDE:
        raise DataError(f"{array.name}: the shape {array.shape} cannot be images; expected {LAYOUTS}.")
    if math.prod(array.shape[1:]) > MOST_VALUES:
        raise DataError(
            f"{array.name}: images of {math.prod(array.shape[1:]):,} values each, shape {array.shape}; expected at "
            f"most {MOST_VALUES:,}. Make the images smaller: the network reads 28x28."
        )
    return images


def join_ranges(name: str, ranges: dict[str, Range]) -> Range:
    """Combine the ranges of a source's parts.

    Raises:
        DataError: Values are not pixels, parts have different ranges, or all pixels are the same.
    """
    for part, pixels in ranges.items():
        if pixels.low < -ROUNDING or pixels.high > 255 * (1 + ROUNDING):
            low, high = pixels.low, pixels.high
            advice = "Undo the normalisation" if low < 0 else "Divide by 257" if high > 4095 else "Rescale"
            raise DataError(
                f"{part}: pixels from {low:g} to {high:g}; expected 0 to 1 or 0 to 255. {advice} and save again."
            )
    dim, bright = min(ranges, key=lambda part: ranges[part].high), max(ranges, key=lambda part: ranges[part].high)
    if ranges[dim].high > 0 and ranges[dim].scale > ranges[bright].scale:
        raise DataError(
            f"{dim}: pixels up to {ranges[dim].high:g}, but up to {ranges[bright].high:g} in {bright}; expected 0 to 1 "
            "or 0 to 255 in both. Scale one of them and save again."
        )
    whole = Range(min(each.low for each in ranges.values()), ranges[bright].high)
    if whole.low == whole.high:
        raise DataError(
            f"{name}: every pixel of every image is {whole.low:g}; expected pictures. Was the array filled before "
            "it was saved?"
        )
    return whole
