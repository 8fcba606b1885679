"""The project's data set on disk: a folder that can be memory-mapped, complete or missing.

`images.npy` uint8 (n, 28, 28), ink is 255; `labels.npy` uint8 (n,), class numbers from 0; `manifest.json`.
Knows neither the sources of the data nor its uses.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.mnist.errors import DataError
from components.mnist.files import replacing

IMAGE_SIDE = 28
BLOCK = 1024  # images in memory at a time


@dataclass(frozen=True)
class Manifest:
    """The description of a data set, stored in manifest.json.

    Attributes:
        split: "training", "validation" or "test".
        count: Number of images.
        classes: Name of each class, in the order of the labels.
        class_counts: Number of images of each class, in the same order.
        sha256: Hash of the bytes of all images, then of all labels.
        source: As given by the user: `mnist`, `sample`, a path or an address.
        origin: The file, folder or address that was read.
        settings: The ingest settings (polarity, fractions, seed).
        notes: Remarks of ingest, one sentence each ("Inverted dark ink on a light background ...").
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
        """Return the scalars that pipeline pages show beside the artifact."""
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
    """A data set opened for reading.

    Attributes:
        images: uint8 (n, 28, 28), memory-mapped, read-only; ink is 255.
        labels: uint8 (n,), class numbers from 0, in memory.
        manifest: The description in the folder.
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
        folder: Replaced only when everything has been written.
        blocks: Pairs of images, uint8 (m, 28, 28), and labels, uint8 (m,), that add up to `count`.

    Returns:
        The manifest that was written.
    """
    labels = np.zeros(count, np.uint8)
    digest = hashlib.sha256()
    start = 0
    with replacing(folder) as new:
        new.mkdir()
        # Written from the front, not memory-mapped: mapped pages stay in memory, and mounted buckets cannot map files.
        with (new / "images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, IMAGE_SIDE, IMAGE_SIDE)}
            np.lib.format.write_array_header_1_0(file, header)
            for block_images, block_labels in blocks:
                stop = start + len(block_labels)
                labels[start:stop] = block_labels
                pixels = np.ascontiguousarray(block_images).data
                file.write(pixels)
                digest.update(pixels)
                start = stop
        if start != count:
            raise ValueError(f"{folder}: got {start} images; expected {count}.")
        digest.update(labels.data)
        np.save(new / "labels.npy", labels)
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
        (new / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    return manifest


def read_dataset(folder: Path) -> Dataset:
    """Open a data set folder; the images stay on disk until they are used.

    Raises:
        DataError: The folder is not a data set of this project, its files do not match, or it has no images.
    """
    try:
        manifest = read_manifest(folder)
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{folder}: not a complete data set ({error}). Make it again with `mnist step ingest`."
        ) from error
    expected = (manifest.count, IMAGE_SIDE, IMAGE_SIDE)
    if images.shape != expected or images.dtype != np.uint8 or labels.shape != (manifest.count,):
        raise DataError(
            f"{folder}: images.npy is {images.dtype} {images.shape} and labels.npy {labels.shape}, but manifest.json "
            f"declares uint8 {expected} and ({manifest.count},). Make it again with `mnist step ingest`."
        )
    if not manifest.count:
        raise DataError(f"{folder}: has no images; at least one is needed. Give ingest more images.")
    if (largest := int(labels.max())) >= len(manifest.classes):
        raise DataError(
            f"{folder}/labels.npy has the label {largest}, but there are only {len(manifest.classes)} classes, from 0. "
            "Make it again with `mnist step ingest`."
        )
    return Dataset(images, labels, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a data set.

    Raises:
        DataError: The manifest is missing, or is not one of this project.
    """
    try:
        fields: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        fields.update({name: tuple(fields[name]) for name in ("classes", "class_counts", "notes")})
        return Manifest(**fields)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: holds no manifest.json; expected a folder that `mnist step ingest` wrote."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{folder}/manifest.json: {error}. Make it again with `mnist step ingest`.") from error
