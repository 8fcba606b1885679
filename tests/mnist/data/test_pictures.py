import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from components.mnist.data.pictures import read_picture
from components.mnist.errors import DataError


def draw(mode: str, background: object, ink: object, size: tuple[int, int] = (56, 56)) -> Image.Image:
    """A stroke from top to bottom in the middle third."""
    image = Image.new(mode, size, background)
    width, height = size
    ImageDraw.Draw(image).rectangle((width // 3, height // 8, 2 * width // 3, 7 * height // 8), fill=ink)
    return image


def read(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    image.save(path, **options)
    square, size = read_picture(path)
    assert square.shape == (28, 28)
    assert square.dtype == np.uint8
    assert size == image.size
    return square


PICTURES = {
    "grey": draw("L", 255, 0),
    "colour": draw("RGB", "white", "black"),
    "one bit": draw("1", 1, 0),
    "palette": draw("RGB", "white", "black").quantize(4),
    "transparent background": draw("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
    "opaque": draw("RGBA", "white", "black"),
    "grey with transparent background": draw("LA", (0, 0), (0, 255)),
    "16 bits": Image.fromarray(np.asarray(draw("L", 255, 0)).astype(np.uint16) * 257),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_every_kind_become_the_same_grey(tmp_path, kind):
    square = read(tmp_path / "picture.png", PICTURES[kind])
    assert (square[:, :6] == 255).all()
    assert (square[6:22, 11:16] == 0).all()


def test_a_palette_with_a_transparent_colour_is_shown_on_white(tmp_path):
    image = Image.new("P", (28, 28), 0)
    image.putpalette([0, 0, 0, 0, 0, 0])
    ImageDraw.Draw(image).rectangle((10, 5, 17, 22), fill=1)
    square = read(tmp_path / "picture.png", image, transparency=0)
    assert square[0, 0] == 255
    assert square[14, 14] == 0


def test_white_ink_on_a_transparent_ground_stays_visible(tmp_path):
    square = read(tmp_path / "picture.png", draw("RGBA", (255, 255, 255, 0), (255, 255, 255, 255)))
    assert square[0, 0] == 0
    assert square[14, 14] == 255


@pytest.mark.parametrize(("background", "ink"), [("white", "black"), ("black", "white"), ("#c0c0c0", "#202020")])
@pytest.mark.parametrize("size", [(100, 40), (40, 100), (28, 10), (3, 1), (2000, 1000)])
def test_proportions_are_kept_and_the_background_continues(tmp_path, background, ink, size):
    square = read(tmp_path / "picture.png", draw("RGB", background, ink, size))
    width, height = (round(side * 28 / max(size)) for side in size)
    margin = square[: (28 - height) // 2] if height < 28 else square[:, : (28 - width) // 2]
    assert margin.size
    if min(size) > 8:  # smaller ones are hardly more than ink
        assert abs(margin.astype(int) - Image.new("L", (1, 1), background).getpixel((0, 0))).max() <= 2


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    assert np.array_equal(read(tmp_path / "picture.png", Image.fromarray(pixels)), pixels)


def test_a_photograph_is_turned_as_its_camera_was(tmp_path):
    image = Image.new("RGB", (80, 40), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 20, 40), fill="black")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to the right
    square = read(tmp_path / "photo.jpg", image, exif=exif, quality=95)
    assert square[0, 14] < 30, "what was at the left is on top"
    assert square[27, 14] > 225


def test_a_large_photograph_is_read_in_little_memory_and_time(tmp_path):
    square = read(tmp_path / "photo.jpg", draw("RGB", "white", "black", (6000, 4000)))
    assert square[14, 0] > 250
    assert square[14, 14] < 5


def test_a_jpeg_for_printing_is_read(tmp_path):
    square = read(tmp_path / "print.jpg", draw("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)))
    assert square[0, 0] > 250
    assert square[14, 14] < 5


def png_of(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("side", "words"), [(9000, "9,000 x 9,000 pixels; expected at most 64 million"), (50_000, "")])
def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, side, words):
    (tmp_path / "bomb.png").write_bytes(png_of(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=rf"bomb\.png: .*{words}.*[Ll]eave it out"):
            read_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("keep", [0, 10, 40, 80])
def test_a_picture_that_is_cut_is_refused(tmp_path, keep):
    draw("L", 255, 0).save(tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    (tmp_path / "picture.png").write_bytes(content[:keep])
    with pytest.raises(DataError, match=r"picture\.png: cannot be read as a picture \(.+\); expected PNG or JPEG"):
        read_picture(tmp_path / "picture.png")
