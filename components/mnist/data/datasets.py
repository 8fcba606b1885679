"""The data set of this project on disk: a folder that can be memory-mapped, whole or not there at all.

`images.npy` uint8 (n, 28, 28), ink is 255; `labels.npy` uint8 (n,), class numbers from 0; `manifest.json`.
Knows neither where data comes from nor who uses it.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.mnist.errors import DataError

IMAGE_SIDE = 28
BLOCK = 1024  # images that are in memory at a time


@dataclass(frozen=True)
class Manifest:
    """What a data set folder holds.

    Attributes:
        split: "training", "validation" or "test".
        count: Number of images.
        classes: Name of each class, in the order of the labels.
        class_counts: Number of images of each class, in the same order.
        sha256: Of the bytes of all images, then of all labels.
        source: As the user gave it: `mnist`, `sample`, a path or an address.
        origin: Where that led: the file, folder or address that was read.
        settings: The ingest settings that made it (polarity, fractions, seed).
        notes: What was done to the data on the way in, a sentence each ("turned dark ink on white into ...").
    """

    split: str
    count: int
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    sha256: str
    source: str
    origin: str
    settings: dict[str, str | int | float]
    notes: tuple[str, ...]

    def metadata(self) -> dict[str, str | int | float]:
        """The scalars that a pipeline page shows beside the artifact."""
        balance = ", ".join(f"{name}: {count}" for name, count in zip(self.classes, self.class_counts, strict=True))
        return {
            "count": self.count,
            "classes": len(self.classes),
            "class_counts": balance,
            "sha256": self.sha256,
            "source": self.source,
            "origin": self.origin,
        }


@dataclass(frozen=True)
class Dataset:
    """A data set that was opened for reading.

    Attributes:
        images: uint8 (n, 28, 28), memory-mapped, read-only; ink is 255.
        labels: uint8 (n,), class numbers from 0, in memory.
        manifest: What the folder says it holds.
    """

    images: np.ndarray
    labels: np.ndarray
    manifest: Manifest


def write_dataset(
    folder: Path,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    split: str,
    count: int,
    classes: tuple[str, ...],
    source: str,
    origin: str,
    settings: dict[str, str | int | float],
    notes: tuple[str, ...],
) -> Manifest:
    """Write a data set block by block, so that memory does not grow with it.

    Args:
        folder: Made anew; what was there is replaced only when everything has been written.
        blocks: Pairs of images, uint8 (m, 28, 28), and labels, uint8 (m,), that add up to `count`.

    Returns:
        The manifest that was written.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        labels = np.zeros(count, np.uint8)
        digest = hashlib.sha256()
        start = 0
        # Written from the front rather than mapped: mapped pages would stay in memory, and mounted buckets have none.
        with (partial / "images.npy").open("wb") as file:
            header = np.lib.format.header_data_from_array_1_0(np.empty((0, IMAGE_SIDE, IMAGE_SIDE), np.uint8))
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (count, IMAGE_SIDE, IMAGE_SIDE)})
            for block_images, block_labels in blocks:
                stop = start + len(block_labels)
                labels[start:stop] = block_labels
                pixels = np.ascontiguousarray(block_images).data
                file.write(pixels)
                digest.update(pixels)
                start = stop
        if start != count:
            raise ValueError(f"{folder}: {start} images were given where {count} were promised.")
        digest.update(labels.data)
        np.save(partial / "labels.npy", labels)
        manifest = Manifest(
            split=split,
            count=count,
            classes=classes,
            class_counts=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
            sha256=digest.hexdigest(),
            source=source,
            origin=origin,
            settings=settings,
            notes=notes,
        )
        (partial / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(partial, folder)  # mounted buckets cannot rename a folder: this copies there
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def read_dataset(folder: Path) -> Dataset:
    """Open a data set folder; the images stay on disk until they are touched.

    Raises:
        DataError: The folder is not a data set of this project, or its parts do not fit each other.
    """
    try:
        manifest = read_manifest(folder)
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{folder}: not a complete data set ({error}). Make it anew with `mnist step ingest`."
        ) from error
    expected = (manifest.count, IMAGE_SIDE, IMAGE_SIDE)
    if images.shape != expected or images.dtype != np.uint8 or labels.shape != (manifest.count,):
        raise DataError(
            f"{folder}: images.npy is {images.dtype} {images.shape} and labels.npy {labels.shape}, where manifest.json "
            f"promises uint8 {expected} and ({manifest.count},). Make it anew with `mnist step ingest`."
        )
    return Dataset(images, labels, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read only what a data set says about itself.

    Raises:
        DataError: There is no manifest, or it is none of this project's.
    """
    try:
        fields: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        fields.update({name: tuple(fields[name]) for name in ("classes", "class_counts", "notes")})
        return Manifest(**fields)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: no manifest.json there; expected a folder that `mnist step ingest` wrote."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{folder}/manifest.json: {error}. Make it anew with `mnist step ingest`.") from error
