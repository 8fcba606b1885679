import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.mnist.data.datasets import Manifest, read_dataset, read_manifest, write_dataset
from components.mnist.errors import DataError


def write(
    folder: Path, images: np.ndarray, labels: np.ndarray, *, step: int = 7, promised: int | None = None
) -> Manifest:
    """Write in blocks of `step` images."""
    starts = range(0, len(labels), step)
    return write_dataset(
        folder,
        ((images[start : start + step], labels[start : start + step]) for start in starts),
        split="training",
        count=promised or len(labels),
        classes=tuple("0123456789"),
        source="sample",
        origin="data/sample.npz",
        settings={"polarity": "auto", "seed": 0},
        notes=("a note",),
    )


def test_what_is_written_is_read_again(digits, tmp_path):
    images, labels = digits["x_train"], digits["y_train"]
    manifest = write(tmp_path / "made" / "set", images, labels)
    data = read_dataset(tmp_path / "made" / "set")
    assert np.array_equal(data.images, images)
    assert np.array_equal(data.labels, labels)
    assert data.manifest == manifest
    assert not data.images.flags.writeable
    assert manifest.count == 200
    assert sum(manifest.class_counts) == 200
    assert manifest.class_counts[3] == (labels == 3).sum()


def test_the_images_are_an_ordinary_npy_file(digits, tmp_path):
    write(tmp_path / "set", digits["x_test"], digits["y_test"])
    images = np.load(tmp_path / "set" / "images.npy")
    assert images.dtype == np.uint8
    assert np.array_equal(images, digits["x_test"])


def test_the_hash_is_of_the_images_then_the_labels_however_they_came(digits, tmp_path):
    images, labels = digits["x_test"], digits["y_test"]
    expected = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert {write(tmp_path / "set", images, labels, step=step).sha256 for step in (1, 13, 60)} == {expected}


def test_the_metadata_are_plain_values_for_a_pipeline_page(digits, tmp_path):
    metadata = write(tmp_path / "set", digits["x_test"], digits["y_test"]).metadata()
    assert {type(value) for value in metadata.values()} <= {str, int, float}
    assert metadata["count"] == 60
    assert metadata["class_counts"].startswith("0: ")
    assert len(metadata["sha256"]) == 64


def test_a_failure_half_way_leaves_what_was_there(digits, tmp_path):
    before = write(tmp_path / "set", digits["x_test"], digits["y_test"])

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield digits["x_train"][:50], digits["y_train"][:50]
        raise DataError("the source broke")

    with pytest.raises(DataError, match="the source broke"):
        write_dataset(
            tmp_path / "set",
            blocks(),
            split="training",
            count=200,
            classes=tuple("0123456789"),
            source="s",
            origin="o",
            settings={},
            notes=(),
        )
    assert read_dataset(tmp_path / "set").manifest == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_fewer_images_than_promised_are_not_written(digits, tmp_path):
    with pytest.raises(ValueError, match="got 60 images; expected 61"):
        write(tmp_path / "set", digits["x_test"], digits["y_test"], promised=61)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no manifest.json; expected a folder that `mnist step ingest` wrote"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("images.npy", b"", "not a complete data set"),
        ("images.npy", b"\x93NUMPY\x01\x00", "not a complete data set"),
        ("labels.npy", b"nothing", "not a complete data set"),
        ("manifest.json", b"{}", "manifest.json: 'classes'"),
        ("manifest.json", b"not JSON", "manifest.json: "),
        ("manifest.json", b"[]", "manifest.json: "),
    ],
)
def test_a_damaged_data_set_is_refused(digits, tmp_path, name, content, words):
    write(tmp_path, digits["x_test"], digits["y_test"])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert words in str(caught.value)
    assert "Make it again with `mnist step ingest`." in str(caught.value)


def test_parts_that_do_not_fit_each_other_are_refused(digits, tmp_path):
    write(tmp_path, digits["x_test"], digits["y_test"])
    fields = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(fields | {"count": 61}))
    with pytest.raises(DataError, match=r"images.npy is uint8 \(60, 28, 28\).*declares uint8 \(61, 28, 28\)"):
        read_dataset(tmp_path)


def test_a_manifest_is_read_with_the_types_it_was_written_with(digits, tmp_path):
    written = write(tmp_path / "set", digits["x_test"], digits["y_test"])
    assert read_manifest(tmp_path / "set") == written
