"""Pictures in class folders: one folder per class, named after the class."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components.mnist.data.contents import Contents, Part
from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.data.labels import MOST_CLASSES
from components.mnist.data.pictures import SUFFIXES, read_picture
from components.mnist.data.pixels import Range
from components.mnist.errors import DataError

TRAINING_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
SPLIT_NAMES = (*TRAINING_NAMES, *TEST_NAMES, "val", "valid", "validation")
BLOCK_PICTURES = 64


@dataclass
class PictureFiles:
    """Pictures in files.

    Attributes:
        paths: Paths of the files; as strings, which take a quarter of the memory of Path objects.
        sizes: Width and height of the pictures read so far that were not 28x28.
    """

    paths: list[str]
    sizes: set[tuple[int, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Folder of the pictures, for messages."""
        return str(Path(self.paths[0]).parent.parent)

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    @property
    def size(self) -> str:
        """Sizes other than 28x28 among the pictures read so far, for messages; may be empty."""
        if not self.sizes:
            return ""
        width, height = max(self.sizes)
        others = len(self.sizes) - 1
        more = "" if not others else " and one other size" if others == 1 else f" and {others:,} other sizes"
        return f"{width}x{height}{more}"

    def find_range(self) -> Range:
        """Return the range of every decoded picture."""
        return Range(0, 255)

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Read the pictures in order, grey and 28x28, in their own polarity.

        Returns:
            Blocks of uint8 (m, 28, 28).

        Raises:
            DataError: A picture cannot be read; the message names it.
        """
        for start in range(0, self.count, BLOCK_PICTURES):
            pictures = [read_picture(Path(path)) for path in self.paths[start : start + BLOCK_PICTURES]]
            self.sizes |= {size for _, size in pictures} - {(IMAGE_SIDE, IMAGE_SIDE)}
            yield np.stack([square for square, _ in pictures])


def open_class_folders(folder: Path) -> Contents:
    """Find the pictures below a folder: in class folders, or in class folders in `train` and `test`.

    Raises:
        DataError: There are fewer than two classes or too many, a class is empty, or a class is only in the test.
    """
    contents = Contents(kind="class folders")
    splits = {entry.name.lower(): entry for entry in subfolders(folder)}
    training_folder, test_folder = folder, None
    has_splits = set(splits) <= set(SPLIT_NAMES) and not set(splits).isdisjoint(TRAINING_NAMES)
    if has_splits:
        training_folder = next(splits.pop(name) for name in TRAINING_NAMES if name in splits)
        test_folder = next((splits.pop(name) for name in TEST_NAMES if name in splits), None)
    contents.classes = _find_classes(training_folder)
    left_out: Counter[str] = Counter()
    contents.training.append(_list_pictures(training_folder, contents.classes, left_out, is_complete=True))
    if test_folder is not None:
        if unknown := sorted(set(_find_classes(test_folder)) - set(contents.classes)):
            raise DataError(
                f"{test_folder}: has the class {unknown[0]}, which {training_folder} lacks; expected the same classes "
                "in both. Add pictures of it to training or leave it out."
            )
        contents.test.append(_list_pictures(test_folder, contents.classes, left_out, is_complete=False))
    if left_out:
        others = ", ".join(f"{number:,} {kind}" for kind, number in left_out.most_common(5))
        contents.notes.append(f"Left out files that are neither PNG nor JPEG: {others}.")
    if has_splits and splits:
        contents.notes.append(f"Left out the folder {next(iter(splits))}: validation is split off the training images.")
    return contents


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder, without hidden ones, in natural order."""
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry.name)]
    return sorted(found, key=lambda entry: natural(entry.name))


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders numbers within names by value: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX")) or name in ("Thumbs.db", "desktop.ini")


def _find_classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(entry.name for entry in subfolders(folder))
    if len(classes) < 2:
        found = f"the folder {classes[0]}" if classes else "no folders"
        raise DataError(
            f"{folder}: holds {found}; expected a folder for each class, at least two, with PNG or JPEG pictures in "
            "them. Sort the pictures into folders."
        )
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{folder}: holds {len(classes):,} class folders; expected at most {MOST_CLASSES}. Merge some.")
    return classes


def _list_pictures(folder: Path, classes: tuple[str, ...], left_out: Counter[str], *, is_complete: bool) -> Part:
    """List the pictures by class and name, with their labels; count other files by kind in `left_out`.

    Args:
        is_complete: Whether each class must have pictures.
    """
    paths: list[str] = []
    counts = []
    for name in classes:
        found: list[str] = []
        others: Counter[str] = Counter()
        for entry in os.scandir(folder / name) if (folder / name).is_dir() else ():
            if _is_hidden(entry.name):
                continue
            if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                found.append(entry.path)
            else:
                others["folder" if entry.is_dir() else Path(entry.name).suffix or "without suffix"] += 1
        if is_complete and not found:
            held = ", ".join(f"{number} {kind}" for kind, number in others.most_common(3)) or "nothing"
            raise DataError(
                f"{folder / name}: no PNG or JPEG pictures in it (found: {held}); expected some in each class folder. "
                "Convert them, or remove the folder."
            )
        paths += sorted(found)
        counts.append(len(found))
        left_out.update(others)
    if not paths:
        raise DataError(
            f"{folder}: no PNG or JPEG pictures in its class folders; expected some. Convert them, or remove it."
        )
    return Part(PictureFiles(paths), np.repeat(np.arange(len(classes)), counts))
