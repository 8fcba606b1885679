"""Pictures in a folder for each class, whose name is the name of the class."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.data.labels import MOST_CLASSES
from components.mnist.data.pictures import SUFFIXES, read_picture
from components.mnist.data.pixels import Range
from components.mnist.errors import DataError

TRAINING_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation")
BLOCK_PICTURES = 64


@dataclass
class PictureFiles:
    """Pictures in files.

    Attributes:
        paths: Of the files; as plain text, which takes a quarter of the memory of Path objects.
        sizes: Width and height of those read so far that were not 28x28.
    """

    paths: list[str]
    sizes: set[tuple[int, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Their folder, for messages."""
        return str(Path(self.paths[0]).parent.parent)

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    @property
    def size(self) -> str:
        """Sizes of those read so far that were not 28x28, for messages; empty where there are none."""
        if not self.sizes:
            return ""
        width, height = max(self.sizes)
        others = len(self.sizes) - 1
        more = "" if not others else " and one other size" if others == 1 else f" and {others:,} other sizes"
        return f"{width}x{height}{more}"

    def find_range(self) -> Range:
        """The range of every decoded picture."""
        return Range(0, 255)

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Read the pictures in order, grey and 28x28, in their own polarity.

        Returns:
            Blocks of uint8 (m, 28, 28).

        Raises:
            DataError: A picture cannot be read; it is named.
        """
        for start in range(0, self.count, BLOCK_PICTURES):
            pictures = [read_picture(Path(path)) for path in self.paths[start : start + BLOCK_PICTURES]]
            self.sizes |= {size for _, size in pictures} - {(IMAGE_SIDE, IMAGE_SIDE)}
            yield np.stack([square for square, _ in pictures])


@dataclass(frozen=True)
class ClassFolders:
    """What a folder of class folders holds.

    Attributes:
        training, test: The pictures and their labels, int64 (n,); test is None where there is no test split.
        classes: Names in natural order: 2 comes before 10.
        left_out: How many files there are of each other kind, by suffix.
        unused: Names of folders for other splits, which are not read.
    """

    training: tuple[PictureFiles, np.ndarray]
    test: tuple[PictureFiles, np.ndarray] | None
    classes: tuple[str, ...]
    left_out: Counter[str]
    unused: tuple[str, ...]


def open_class_folders(folder: Path) -> ClassFolders:
    """Find the pictures below a folder: in class folders, or in class folders in `train` and `test`.

    Raises:
        DataError: There are fewer than two classes or too many, a class is empty, or the test has another class.
    """
    inner = {entry.name.lower(): entry for entry in subfolders(folder)}
    training_folder, test_folder = folder, None
    unused: tuple[str, ...] = ()
    if set(inner) <= {*TRAINING_NAMES, *TEST_NAMES, *VALIDATION_NAMES} and set(inner) & set(TRAINING_NAMES):
        training_folder = next(inner[name] for name in TRAINING_NAMES if name in inner)
        test_folder = next((inner[name] for name in TEST_NAMES if name in inner), None)
        unused = tuple(name for name, entry in inner.items() if entry not in (training_folder, test_folder))
    left_out: Counter[str] = Counter()
    classes = _find_classes(training_folder)
    training = _list_pictures(training_folder, classes, left_out, is_complete=True)
    test = None
    if test_folder is not None:
        if unknown := sorted(set(_find_classes(test_folder)) - set(classes)):
            raise DataError(
                f"{test_folder}: has the class {unknown[0]}, which {training_folder} lacks; expected the same classes "
                "in both. Add pictures of it to training or leave it out."
            )
        test = _list_pictures(test_folder, classes, left_out, is_complete=False)
    return ClassFolders(training, test, classes, left_out, unused)


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, without hidden ones, in natural order."""
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry.name)]
    return sorted(found, key=lambda entry: natural(entry.name))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts the numbers within names by value: 2 before 10."""
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


def _list_pictures(
    folder: Path, classes: tuple[str, ...], left_out: Counter[str], *, is_complete: bool
) -> tuple[PictureFiles, np.ndarray]:
    """Paths and labels of the pictures, by class and name; other files are counted in `left_out`.

    Args:
        is_complete: Whether each class must have pictures.
    """
    paths: list[str] = []
    counts = []
    for name in classes:
        found, others = _scan(folder / name)
        if is_complete and not found:
            held = ", ".join(f"{number} {kind}" for kind, number in others.most_common(3)) or "nothing"
            raise DataError(
                f"{folder / name}: no PNG or JPEG pictures in it (found: {held}); expected some in each class folder. "
                "Convert them, or remove the folder."
            )
        paths += sorted(found)
        counts.append(len(found))
        left_out.update(others)
    return PictureFiles(paths), np.repeat(np.arange(len(classes)), counts)


def _scan(folder: Path) -> tuple[list[str], Counter[str]]:
    """Paths of the pictures in a folder, and how many other files it holds by kind; nothing where it is missing."""
    pictures: list[str] = []
    others: Counter[str] = Counter()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                pictures.append(entry.path)
            else:
                others["folder" if entry.is_dir() else Path(entry.name).suffix or "without suffix"] += 1
    return pictures, others
