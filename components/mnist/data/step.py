"""The ingest step: read a source and write three data set folders, all of them or none.

Images are read once, in blocks: first into one plain file in their final form, then from there into the data sets.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.mnist.data.contents import Contents
from components.mnist.data.datasets import BLOCK, IMAGE_SIDE, Manifest, write_dataset
from components.mnist.data.formats import open_contents
from components.mnist.data.labels import count_classes
from components.mnist.data.pixels import join_ranges
from components.mnist.data.preparation import decide_inversion
from components.mnist.data.sources import locate
from components.mnist.data.splits import check_enough, choose_splits
from components.mnist.errors import DataError, describe, reports_errors
from components.mnist.files import replacing
from components.mnist.progress import Progress, say
from components.mnist.settings import check

IMAGE_BYTES = IMAGE_SIDE * IMAGE_SIDE
SPARE_BYTES = 50 * 2**20  # of disk, beyond the images
SAMPLE = 4096  # training images, spread evenly, that are examined to decide the polarity


@reports_errors
def ingest_data(
    *,
    source: str,
    polarity: str,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    training_folder: Path,
    validation_folder: Path,
    test_folder: Path,
) -> dict[str, Manifest]:
    """Read a source and write the training, validation and test data sets.

    Args:
        training_folder, validation_folder, test_folder: Replaced only when all three have been written.

    Returns:
        The manifests of "training", "validation" and "test".

    Raises:
        SettingError: A setting is out of range.
        DataError: The source cannot be read or does not look like an image data set; nothing was written.
    """
    settings: dict[str, str | int | float] = {
        "polarity": polarity,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
    }
    for name, value in {"source": source, **settings}.items():
        check(name, value)
    folders = {"training": training_folder, "validation": validation_folder, "test": test_folder}
    try:
        with tempfile.TemporaryDirectory(prefix="ingest-") as name:
            workspace = Path(name)
            located = locate(source, workspace)
            say(f"reading {located.origin}")
            contents = open_contents(located.path)
            labels, classes = _check_labels(located.origin, contents)
            count = sum(part.images.count for part in contents.training)
            scratch = workspace / "images"
            _write_scratch(located.origin, contents, scratch)
            is_inverted, sentence = _judge_sample(located.origin, scratch, count, polarity)
            contents.notes += [sentence] if sentence else []
            for note in contents.notes:
                say(note)
            chosen = choose_splits(
                labels, count, validation_fraction=validation_fraction, test_fraction=test_fraction, seed=seed
            )
            say("split: " + ", ".join(f"{len(indices):,} {name}" for name, indices in chosen.items()) + " images")
            with contextlib.ExitStack() as stack:  # replaces the three folders after the last has been written
                return {
                    name: write_dataset(
                        stack.enter_context(replacing(folders[name])),
                        _gather(scratch, labels, indices, is_inverted),
                        split=name,
                        count=len(indices),
                        classes=classes,
                        source=located.source,
                        origin=located.origin,
                        settings=settings,
                        notes=tuple(contents.notes),
                    )
                    for name, indices in chosen.items()
                }
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        raise DataError(f"{source}: reading or writing failed, {file}{describe(error)}.") from error


def _judge_sample(origin: str, scratch: Path, count: int, polarity: str) -> tuple[bool, str]:
    """Whether to invert the images, judged by a sample of the `count` training images, and a sentence about it."""
    sample = _read(scratch, np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)))
    if (sample == sample[:, :1, :1]).all():
        raise DataError(f"{origin}: every picture is blank; expected pictures with visible ink.")
    return decide_inversion(sample, polarity)


def _check_labels(origin: str, contents: Contents) -> tuple[np.ndarray, tuple[str, ...]]:
    """Check the labels; return them, training before test, uint8 (n,), and the names of the classes."""
    training, test = (
        np.concatenate([np.empty(0, np.int64), *(part.labels for part in parts)])
        for parts in (contents.training, contents.test)
    )
    count = count_classes(origin, training, test)
    classes = contents.classes or tuple(str(number) for number in range(count))
    say(
        f"found {contents.kind} with {len(training):,} image{'s' * (len(training) != 1)}"
        + (f" for training and {len(test):,} for the test" if contents.test else " and no test split")
        + f", {count} classes"
    )
    if contents.test and (lacking := [classes[label] for label in range(count) if label not in test]):
        contents.notes.append(f"The test has no image of class {', '.join(lacking)}.")
    parts = ("training", "validation") if contents.test else ("training", "validation", "test")
    check_enough(origin, np.bincount(training), classes, parts=parts)
    return np.concatenate([training, test]).astype(np.uint8), classes


def _write_scratch(origin: str, contents: Contents, scratch: Path) -> None:
    """Write every image as uint8 (28, 28), training before test, one after another; note the changes."""
    parts = contents.training + contents.test
    total = sum(part.images.count for part in parts)
    needed, free = 2 * total * IMAGE_BYTES + SPARE_BYTES, shutil.disk_usage(scratch.parent).free
    if needed > free:
        raise DataError(
            f"{origin}: {total:,} images need {needed:,} bytes of disk but {scratch.parent.parent} has {free:,} left. "
            "Free some, or set TMPDIR to a folder with more."
        )
    pixels = join_ranges(origin, {part.images.name: part.images.find_range() for part in parts})
    progress = Progress(total, unit="pictures")
    done = 0
    with scratch.open("wb") as file:
        for part in parts:
            for block in part.images.squares(pixels.scale):
                file.write(np.ascontiguousarray(block).data)
                done += len(block)
                progress.update(done)
    if sizes := sorted({part.images.size for part in parts} - {""}):
        contents.notes.append(f"Scaled pictures of {', '.join(sizes)} to 28x28 in grey, proportions kept.")
    if pixels.scale > 1:
        contents.notes.append("Scaled pixels from 0..1 to 0..255.")
    elif pixels.high < 64:
        contents.notes.append(f"Pictures are faint: the largest pixel is {pixels.high:g} of 255.")


def _read(scratch: Path, indices: np.ndarray) -> np.ndarray:
    # One by one, not memory-mapped: mapped pages may take as much memory as the whole file.
    images = np.empty((len(indices), IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    with scratch.open("rb", buffering=0) as file:
        for image, index in zip(images, indices.tolist(), strict=True):
            file.seek(index * IMAGE_BYTES)
            file.readinto(image.data)
    return images


def _gather(
    scratch: Path, labels: np.ndarray, indices: np.ndarray, is_inverted: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(indices), BLOCK):
        block = indices[start : start + BLOCK]
        images = _read(scratch, block)
        yield 255 - images if is_inverted else images, labels[block]
