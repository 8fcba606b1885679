"""The work of the ingest step: from a source to three data set folders, all there or none.

Images pass through in blocks: first into one plain file in their final form, then from there into the data sets.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from components.mnist.data.arrays import describe
from components.mnist.data.datasets import BLOCK, IMAGE_SIDE, Manifest, write_dataset
from components.mnist.data.formats import Contents, Part, open_contents
from components.mnist.data.labels import count_classes
from components.mnist.data.pixels import Range, join_ranges
from components.mnist.data.polarity import judge
from components.mnist.data.sources import locate
from components.mnist.data.splits import check_enough, split
from components.mnist.errors import DataError, reports_errors
from components.mnist.progress import Progress, say
from components.mnist.settings import check

IMAGE_BYTES = IMAGE_SIDE * IMAGE_SIDE
SPARE_BYTES = 50 * 2**20
SAMPLE = 4096  # images that are looked at to tell which way round the ink is


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
        DataError: The source cannot be had or is not what an image data set looks like; nothing was written.
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
            scratch = workspace / "images"
            notes = _write_scratch(located.origin, contents, scratch)
            sample = _look(scratch, sum(part.images.count for part in contents.training))
            if (sample == sample[:, :1, :1]).all():
                raise DataError(f"{located.origin}: every picture is blank; expected something to see on them.")
            turn, sentence = judge(sample, polarity)
            notes += [sentence] if sentence else []
            for note in notes:
                say(note)
            chosen = _split(located.origin, contents, labels, classes, validation_fraction, test_fraction, seed)
            say("split: " + ", ".join(f"{len(indices):,} {name}" for name, indices in chosen.items()) + " images")
            return _write_all(
                folders,
                {name: _gather(scratch, labels, indices, turn) for name, indices in chosen.items()},
                {name: len(indices) for name, indices in chosen.items()},
                classes=classes,
                source=located.source,
                origin=located.origin,
                settings=settings,
                notes=tuple(notes),
            )
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise DataError(f"{source}: reading or writing failed, {place}{describe(error)}.") from error


def _check_labels(origin: str, contents: Contents) -> tuple[np.ndarray, tuple[str, ...]]:
    """All labels, training before test, uint8 (n,), and the names of the classes."""
    training, test = (
        np.concatenate([np.empty(0, np.int64), *(part.labels for part in parts)])
        for parts in (contents.training, contents.test)
    )
    count = count_classes(origin, training, test)
    classes = contents.classes or tuple(str(number) for number in range(count))
    say(
        f"found {contents.kind} with {_counted(len(training), 'image')}"
        + (f" for training and {len(test):,} for the test" if contents.test else " and no test split")
        + f", {count} classes"
    )
    if contents.test and (lacking := [classes[label] for label in range(count) if label not in test]):
        contents.notes.append(f"The test has no image of class {', '.join(lacking)}.")
    return np.concatenate([training, test]).astype(np.uint8), classes


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _write_scratch(origin: str, contents: Contents, scratch: Path) -> list[str]:
    """Write every image as uint8 (28, 28), training before test, one after another; return what there is to tell."""
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
    return contents.notes + _tell(parts, pixels)


def _tell(parts: list[Part], pixels: Range) -> list[str]:
    notes = []
    if sizes := sorted({part.images.size for part in parts} - {""}):
        notes.append(f"Brought pictures of {', '.join(sizes)} to 28x28 in grey, proportions kept.")
    if pixels.scale > 1:
        notes.append("Pixels from 0 to 1 were brought to 0 to 255.")
    elif pixels.high < 64:
        notes.append(f"Pictures are faint: the largest pixel is {pixels.high:g} of 255.")
    return notes


def _look(scratch: Path, count: int) -> np.ndarray:
    """A sample of the first `count` images, spread evenly."""
    return _read(scratch, np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)))


def _read(scratch: Path, indices: np.ndarray) -> np.ndarray:
    # One by one rather than mapped: a mapping may hold as much memory as the file is long.
    images = np.empty((len(indices), IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    with scratch.open("rb", buffering=0) as file:
        for image, index in zip(images, indices.tolist(), strict=True):
            file.seek(index * IMAGE_BYTES)
            file.readinto(image.data)
    return images


def _split(
    origin: str,
    contents: Contents,
    labels: np.ndarray,
    classes: tuple[str, ...],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Indices of the images of each part; those for training in random order, so that any stretch is a fair sample."""
    generator = np.random.default_rng(seed)
    count = sum(part.images.count for part in contents.training)
    parts = ("training", "validation") if contents.test else ("training", "validation", "test")
    check_enough(origin, np.bincount(labels[:count]), classes, parts=parts)
    if contents.test:
        rest, test = np.arange(count), np.arange(count, len(labels))
    else:
        rest, test = split(labels, test_fraction, leave=2, generator=generator)
    training, validation = split(labels[rest], validation_fraction, leave=1, generator=generator)
    return {"training": generator.permutation(rest[training]), "validation": rest[validation], "test": test}


def _gather(
    scratch: Path, labels: np.ndarray, indices: np.ndarray, turn: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(indices), BLOCK):
        block = indices[start : start + BLOCK]
        images = _read(scratch, block)
        yield 255 - images if turn else images, labels[block]


def _write_all(
    folders: dict[str, Path],
    blocks: dict[str, Iterable[tuple[np.ndarray, np.ndarray]]],
    counts: dict[str, int],
    *,
    classes: tuple[str, ...],
    source: str,
    origin: str,
    settings: dict[str, str | int | float],
    notes: tuple[str, ...],
) -> dict[str, Manifest]:
    """Write beside the folders first: what was there before is replaced when nothing can go wrong any more."""
    beside = {name: folder.with_name(folder.name + ".new") for name, folder in folders.items()}
    try:
        manifests = {
            name: write_dataset(
                folder,
                blocks[name],
                split=name,
                count=counts[name],
                classes=classes,
                source=source,
                origin=origin,
                settings=settings,
                notes=notes,
            )
            for name, folder in beside.items()
        }
        for name, folder in folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(beside[name], folder)
    finally:
        for folder in beside.values():
            shutil.rmtree(folder, ignore_errors=True)
    return manifests
