"""What a local file or folder holds, in any of the supported formats."""

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

# What a folder may hold, for messages.
USABLE = "the four IDX files, .npz files, or class folders with PNG or JPEG pictures"
SPLIT_NAMES = (*TRAINING_NAMES, *TEST_NAMES, *VALIDATION_NAMES)

# Pairs of keys, in lower case, that images and labels may have.
TRAINING_KEYS = (("x_train", "y_train"), ("train_images", "train_labels"), ("train_x", "train_y"))
TEST_KEYS = (("x_test", "y_test"), ("test_images", "test_labels"), ("test_x", "test_y"))
WHOLE_KEYS = (("x", "y"), ("images", "labels"), ("data", "target"), ("data", "labels"))


class Images(Protocol):
    """Images that can be read in order, as often as needed."""

    @property
    def name(self) -> str:
        """Their file or folder, for messages."""

    @property
    def count(self) -> int:
        """Number of images."""

    @property
    def size(self) -> str:
        """Width and height of those that are not 28x28, for messages; complete once they were read."""

    def find_range(self) -> Range:
        """The smallest and largest pixel."""

    def squares(self, scale: int) -> Iterator[np.ndarray]:
        """Blocks of uint8 (m, 28, 28), whose pixels were multiplied by `scale`."""


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
        test: Empty where the source has no test split.
        classes: Their names; empty where labels are only numbers.
        kind: The format, for messages: "an .npz file".
        notes: What a person should know, a sentence each.
    """

    training: list[Part] = field(default_factory=list)
    test: list[Part] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    kind: str = ""
    notes: list[str] = field(default_factory=list)


def is_usable(name: str) -> bool:
    """Whether a file of this name can be part of a folder of USABLE."""
    return name.lower().endswith((".npz", *SUFFIXES)) or bool(IDX_NAME.fullmatch(name))


def open_contents(path: Path) -> Contents:
    """Find out what a file or folder holds; images are not read yet.

    Raises:
        DataError: It holds nothing usable, or is damaged.
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
            _require_training(path, contents)
            return contents
        case "npy":
            found = "a single array (.npy)"
            advice = "Save images and labels together: numpy.savez('data.npz', X=images, y=labels)."
        case "picture":
            found, advice = "a single picture", "Give a folder that holds a folder of pictures for each class."
        case "gzip":
            found, advice = "a gzip archive", "Unpack it and give the folder."
        case "idx":
            found, advice = "no .npz file", "If it is an IDX file, give the folder that holds all four."
        case kind:
            found, advice = f"looks like {kind}", "Get it again." if path.suffix == ".npz" else "Convert it to .npz."
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
        arrays = [open_idx(file) for file in find_four(folder, idx)]
        return Contents([pair_up(*arrays[:2])], [pair_up(*arrays[2:])], kind="four IDX files")
    if archives:
        contents = Contents(kind="an .npz file" if len(archives) == 1 else f"{len(archives)} .npz files, read as one,")
        for name in sorted(archives, key=natural):
            _add_npz(folder / name, contents)
        _require_training(folder, contents)
        return contents
    if any(_holds_pictures(entry) for entry in subfolders(folder)):
        return _open_class_folders(folder)
    found = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
    raise DataError(f"{folder}: holds {found}; expected {USABLE}. {_advise(folder, names)}")


def _advise(folder: Path, names: list[str]) -> str:
    """What to do about a folder that holds nothing usable."""
    for inner in subfolders(folder):
        if any(IDX_NAME.fullmatch(entry.name) or entry.suffix == ".npz" for entry in inner.iterdir()) or any(
            _holds_pictures(entry) for entry in subfolders(inner)
        ):
            return f"Did you mean {inner}?"
    if any(name.lower().endswith(SUFFIXES) for name in names):
        return "Sort the pictures into a folder for each class, named as the class."
    return "Put the data there or give another folder."


def _holds_pictures(folder: Path) -> bool:
    """Whether a folder is a class folder, or that of a split with class folders."""
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
        contents.notes.append(f"Left out files that are neither PNG nor JPEG: {others}.")
    if found.unused:
        contents.notes.append(f"Left out the folder {found.unused[0]}: validation is split off the training images.")
    return contents


def _add_npz(path: Path, contents: Contents) -> None:
    """Add the images and labels of an .npz file."""
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


def _require_training(path: Path, contents: Contents) -> None:
    if not contents.training:
        raise DataError(
            f"{path}: has test images but none for training; expected x_train and y_train too. Add them, or save all "
            "images under X and y: a test split is then made."
        )


def pair_up(images: StoredArray, labels: StoredArray) -> Part:
    """Combine images with their labels.

    Raises:
        DataError: Their counts differ, or they do not look like images or labels.
    """
    if images.count != labels.count:
        is_last = images.shape[-1] == labels.count
        advice = "Move the axis: numpy.moveaxis(images, -1, 0)." if is_last else "Get or save it again."
        raise DataError(
            f"{images.name}: {images.count:,} images, shape {images.shape}, but {labels.count:,} labels in "
            f"{labels.name}; expected a label for each image, counted along the first axis. {advice}"
        )
    return Part(open_images(images), read_labels(labels))
