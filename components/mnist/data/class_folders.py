"""Pictures in a folder for each class, whose name is the name of the class."""

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
        paths: Of the files; plain text, which takes a quarter of the memory of Path objects.
        sizes: Width and height of those read so far that did not have the network's.
    """

    paths: list[str]
    sizes: set[tuple[int, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Where they are, for messages."""
        return str(Path(self.paths[0]).parent.parent)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.paths)

    @property
    def size(self) -> str:
        """Sizes of those read so far that did not have the network's, for a person; empty where there are none."""
        if not self.sizes:
            return ""
        width, height = max(self.sizes)
        others = len(self.sizes) - 1
        more = "" if not others else " and one other size" if others == 1 else f" and {others:,} other sizes"
        return f"{width}x{height}{more}"

    def find_range(self) -> Range:
        """That of every picture once it is decoded."""
        return Range(0, 255)

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Read the pictures in order.

        Returns:
            Blocks of uint8 (m, 28, 28).

        Raises:
            DataError: One cannot be read; it is named.
        """
        for start in range(0, self.count, BLOCK_PICTURES):
            yield np.stack([self._read(path) for path in self.paths[start : start + BLOCK_PICTURES]])

    def _read(self, path: str) -> np.ndarray:
        square, size = read_picture(Path(path))
        if size != (IMAGE_SIDE, IMAGE_SIDE):
            self.sizes.add(size)
        return square


@dataclass(frozen=True)
class ClassFolders:
    """What a folder of class folders holds.

    Attributes:
        training, test: Paths of the pictures and their labels, int64 (n,); test is None where there is no such split.
        classes: Names in natural order: 2 comes before 10.
        left_out: How many files there are of each other kind, by suffix.
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
    left_out: Counter[str] = Counter()
    if inner and set(inner) <= {*TRAINING_NAMES, *TEST_NAMES, *VALIDATION_NAMES} and set(inner) & set(TRAINING_NAMES):
        training_folder = next(inner[name] for name in TRAINING_NAMES if name in inner)
        test_folder = next((inner[name] for name in TEST_NAMES if name in inner), None)
    else:
        training_folder, test_folder = folder, None
    classes = _find_classes(training_folder)
    training = _list_pictures(training_folder, classes, left_out, complete=True)
    test = None
    if test_folder is not None:
        if unknown := sorted(set(_find_classes(test_folder)) - set(classes)):
            raise DataError(
                f"{test_folder}: has the class {unknown[0]}, which {training_folder} lacks; expected the same classes "
                "in both. Add pictures of it to training or leave it out."
            )
        test = _list_pictures(test_folder, classes, left_out, complete=False)
    unused = tuple(
        name for name in inner if training_folder != folder and inner[name] not in (training_folder, test_folder)
    )
    return ClassFolders(training, test, classes, left_out, unused)


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, hidden ones left out, in natural order."""
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
    folder: Path, classes: tuple[str, ...], left_out: Counter[str], *, complete: bool
) -> tuple[PictureFiles, np.ndarray]:
    """Paths and labels of the pictures; `complete` refuses a class without any."""
    paths: list[str] = []
    counts = []
    for name in classes:
        before = len(paths)
        if (folder / name).is_dir():
            others = _add_pictures(folder / name, paths)
            left_out.update(others)
        counts.append(len(paths) - before)
        if complete and not counts[-1]:
            found = ", ".join(f"{number} {kind}" for kind, number in others.most_common(3)) or "nothing"
            raise DataError(
                f"{folder / name}: no PNG or JPEG pictures in it (found: {found}); expected some in each class folder. "
                "Convert them, or take the folder away."
            )
    return PictureFiles(paths), np.repeat(np.arange(len(classes)), counts)


def _add_pictures(folder: Path, paths: list[str]) -> Counter[str]:
    """Append the pictures of one class in the order of their names; count everything else by kind."""
    others: Counter[str] = Counter()
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                found.append(entry.path)
            else:
                others["folder" if entry.is_dir() else Path(entry.name).suffix or "without suffix"] += 1
    paths.extend(sorted(found))
    return others
