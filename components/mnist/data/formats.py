"""What a local file or folder holds, whichever of the usual forms it has."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from components.mnist.data.arrays import StoredArray
from components.mnist.data.class_folders import (
    TEST_NAMES,
    TRAINING_NAMES,
    VALIDATION_NAMES,
    natural,
    open_class_folders,
    subfolders,
)
from components.mnist.data.idx import IDX_NAME, find_four, open_idx
from components.mnist.data.labels import read_labels
from components.mnist.data.npz import list_arrays, open_array
from components.mnist.data.pictures import SUFFIXES
from components.mnist.data.pixels import Range, open_images
from components.mnist.data.signatures import recognise
from components.mnist.errors import DataError

SPLIT_NAMES = (*TRAINING_NAMES, *TEST_NAMES, *VALIDATION_NAMES)

# Pairs of keys, in lower case, under which images and labels are found.
TRAINING_KEYS = (("x_train", "y_train"), ("train_images", "train_labels"), ("train_x", "train_y"))
TEST_KEYS = (("x_test", "y_test"), ("test_images", "test_labels"), ("test_x", "test_y"))
WHOLE_KEYS = (("x", "y"), ("images", "labels"), ("data", "target"), ("data", "labels"))


class Images(Protocol):
    """Images that can be read in order, as often as needed."""

    @property
    def name(self) -> str:
        """Where they are, for messages."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def size(self) -> str:
        """Width and height of those that need another size, for a person; known once they were read."""

    def find_range(self) -> Range:
        """The smallest and largest pixel."""

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Blocks of uint8 (m, 28, 28), after multiplying pixels by `scale`."""


@dataclass(frozen=True)
class Part:
    """Some images with a label each: int64 (n,), not negative."""

    images: Images
    labels: np.ndarray


@dataclass
class Contents:
    """What was found.

    Attributes:
        training: At least one part.
        test: Empty where the source has no split of its own.
        classes: Their names; empty where labels are only numbers.
        kind: In words: "an .npz file".
        notes: What a person should know, a sentence each.
    """

    training: list[Part] = field(default_factory=list)
    test: list[Part] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    kind: str = ""
    notes: list[str] = field(default_factory=list)


def open_contents(path: Path) -> Contents:
    """Find out what a file or folder holds; images are not read yet.

    Raises:
        DataError: Nothing usable is there, or it is damaged.
    """
    return _open_folder(path) if path.is_dir() else _open_file(path)


def _open_file(path: Path) -> Contents:
    if IDX_NAME.fullmatch(path.name):
        raise DataError(
            f"{path}: one IDX file; expected the folder that holds all four: images and labels of train and t10k. "
            f"Give the folder: {path.parent}"
        )
    match recognise(path):
        case "zip":
            contents = Contents(kind="an .npz file")
            _add_npz(path, contents)
            return _complete(path, contents)
        case "npy":
            found = "a single array (.npy)"
            advice = "Save images and labels together: numpy.savez('data.npz', X=images, y=labels)."
        case "picture":
            found, advice = "a single picture", "Give a folder that holds a folder of pictures for each class."
        case "gzip":
            found, advice = "a gzip archive", "Unpack it and give the folder."
        case "idx":
            found, advice = "no .npz file", "If it is an IDX file, give the folder that holds all four."
        case words:
            found, advice = f"looks like {words}", "Get it again." if path.suffix == ".npz" else "Convert it to .npz."
    raise DataError(
        f"{path}: {found}; expected an .npz file, or a folder with IDX files, .npz files or class folders. {advice}"
    )


def _open_folder(folder: Path) -> Contents:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    idx = [name for name in names if IDX_NAME.fullmatch(name)]
    archives = [name for name in names if name.lower().endswith(".npz")]
    if idx and archives:
        raise DataError(
            f"{folder}: holds both IDX files ({idx[0]}, ...) and .npz files ({archives[0]}, ...); expected one "
            "kind. Give one file, or move the others elsewhere."
        )
    if idx:
        return _open_idx_folder(folder, idx)
    if archives:
        contents = Contents(kind="an .npz file" if len(archives) == 1 else f"{len(archives)} .npz files, read as one,")
        for name in sorted(archives, key=natural):
            _add_npz(folder / name, contents)
        return _complete(folder, contents)
    if any(_holds_pictures(entry) for entry in subfolders(folder)):
        return _open_class_folders(folder)
    raise DataError(_describe_unusable(folder, names))


def _describe_unusable(folder: Path, names: list[str]) -> str:
    found = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
    advice = "Put the data there or give another folder."
    if any(name.lower().endswith(SUFFIXES) for name in names):
        advice = "Sort the pictures into a folder for each class, named as the class."
    for inner in subfolders(folder):
        if any(IDX_NAME.fullmatch(entry.name) or entry.suffix == ".npz" for entry in inner.iterdir()) or any(
            _holds_pictures(entry) for entry in subfolders(inner)
        ):
            advice = f"Did you mean {inner}?"
            break
    return (
        f"{folder}: holds {found}; expected the four IDX files, .npz files, or class folders with PNG or JPEG "
        f"pictures. {advice}"
    )


def _holds_pictures(folder: Path) -> bool:
    """Whether it is a class folder, or a split with class folders."""
    inner = subfolders(folder) if folder.name.lower() in SPLIT_NAMES else []
    return any(entry.suffix.lower() in SUFFIXES for each in (folder, *inner) for entry in each.iterdir())


def _open_class_folders(folder: Path) -> Contents:
    found = open_class_folders(folder)
    contents = Contents(classes=found.classes, kind="class folders")
    contents.training.append(Part(*found.training))
    if found.test is not None:
        contents.test.append(Part(*found.test))
    if found.left_out:
        others = ", ".join(f"{number:,} {kind}" for kind, number in found.left_out.most_common(5))
        contents.notes.append(f"Left out what is neither PNG nor JPEG: {others}.")
    if found.unused:
        contents.notes.append(f"Left out the folder {found.unused[0]}: validation is split off the training images.")
    return contents


def _open_idx_folder(folder: Path, names: list[str]) -> Contents:
    arrays = [open_idx(file) for file in find_four(folder, names)]
    return Contents([pair_up(*arrays[:2])], [pair_up(*arrays[2:])], kind="four IDX files")


def _add_npz(path: Path, contents: Contents) -> None:
    """Add the images and labels of an .npz file to what was found so far."""
    arrays = list_arrays(path)
    keys = {key.lower(): key for key in arrays}
    used: set[str] = set()
    for parts, pairs in ((contents.training, TRAINING_KEYS + WHOLE_KEYS), (contents.test, TEST_KEYS)):
        for pair in pairs:
            if all(name in keys for name in pair) and not used & set(pair):
                images, labels = (open_array(path, keys[name]) for name in pair)
                parts.append(pair_up(images, labels))
                used |= set(pair)
                break
    if not used:
        raise DataError(
            f"{path}: has the arrays {', '.join(arrays)}; expected x_train, y_train, x_test, y_test, or train_images, "
            "train_labels, test_images, test_labels, or X and y. Save it again under such names."
        )
    if left := [key for lower, key in keys.items() if lower not in used]:
        contents.notes.append(f"Left out of {path.name}: {', '.join(left)}.")


def _complete(path: Path, contents: Contents) -> Contents:
    """Check that several parts belong together and that there is something to train on."""
    if not contents.training:
        raise DataError(
            f"{path}: has test images but none for training; expected x_train and y_train too. Add them, or save "
            "everything under X and y and let the test be split off."
        )
    return contents


def pair_up(images: StoredArray, labels: StoredArray) -> Part:
    """Put images and their labels together.

    Raises:
        DataError: Their counts differ, or one of them is not what it should be.
    """
    if images.count != labels.count:
        last = images.shape[-1] == labels.count
        advice = "Turn the axes: numpy.moveaxis(images, -1, 0)." if last else "Get or save it again."
        raise DataError(
            f"{images.name}: {images.count:,} images, shape {images.shape}, but {labels.count:,} labels in "
            f"{labels.name}; expected a label for each image, counted along the first axis. {advice}"
        )
    return Part(open_images(images), read_labels(labels))
