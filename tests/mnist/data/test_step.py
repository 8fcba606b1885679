import gzip
import hashlib
import io
import json
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from google.cloud import storage
from PIL import Image

from components.mnist.data import step
from components.mnist.data.datasets import Dataset, read_dataset
from components.mnist.data.step import ingest_data
from components.mnist.errors import DataError, SettingError

DEFAULTS = {"polarity": "auto", "validation_fraction": 0.2, "test_fraction": 0.2, "seed": 7}
SPLITS = ("training", "validation", "test")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ingest(source: str, **settings: str | float) -> dict[str, Dataset]:
    """Run the step into `out` and open what it wrote."""
    folders = {f"{split}_folder": Path("out") / split for split in SPLITS}
    manifests = ingest_data(source=source, **{**DEFAULTS, **settings}, **folders)
    data = {split: read_dataset(Path("out") / split) for split in SPLITS}
    assert manifests == {split: data[split].manifest for split in SPLITS}
    return data


def refuse(source: str, **settings: str | float) -> str:
    """The one line with which a source is refused; nothing may be left of it."""
    with pytest.raises(DataError) as caught:
        ingest(source, **settings)
    assert "\n" not in str(caught.value)
    assert [path.name for path in Path("out").glob("*")] == []
    return str(caught.value)


def whole(data: dict[str, Dataset]) -> dict[bytes, int]:
    """Every image of all splits with its label."""
    return {
        image.tobytes(): int(label)
        for split in data.values()
        for image, label in zip(split.images, split.labels, strict=True)
    }


def expected(digits: dict[str, np.ndarray]) -> dict[bytes, int]:
    return {
        image.tobytes(): int(label)
        for part in ("train", "test")
        for image, label in zip(digits[f"x_{part}"], digits[f"y_{part}"], strict=True)
    }


def write_idx(path: Path, array: np.ndarray) -> None:
    codes = {"u1": 8, "i4": 12, "f4": 13}
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, codes[array.dtype.str[1:]], array.ndim, *array.shape)
    content += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_four(folder: Path, digits: dict[str, np.ndarray], names: str = "{}-{}-idx{}-ubyte") -> None:
    for part, name in (("train", "train"), ("test", "t10k")):
        write_idx(folder / names.format(name, "images", 3), digits[f"x_{part}"])
        write_idx(folder / names.format(name, "labels", 1), digits[f"y_{part}"])


def write_pictures(folder: Path, images: np.ndarray, labels: np.ndarray, suffix: str = ".png") -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{number}{suffix}")


# What is read


def test_the_sample_becomes_three_data_sets():
    data = ingest("sample")
    assert {split: data[split].manifest.count for split in SPLITS} == {"training": 1150, "validation": 287, "test": 360}
    manifest = data["training"].manifest
    assert manifest.classes == tuple("0123456789")
    assert manifest.source == "sample"
    assert manifest.origin.endswith("data/sample.npz")
    assert manifest.settings == DEFAULTS
    assert manifest.notes == ()


@pytest.mark.mnist
def test_the_whole_of_mnist_keeps_its_test_split(monkeypatch):
    monkeypatch.setenv("MNIST_DATA_DIR", str(Path(step.__file__).parents[3] / "data"))
    data = ingest("mnist", validation_fraction=0.1)
    assert [data[split].manifest.count for split in SPLITS] == [54000, 6000, 10000]
    # As of the images in the IDX file in which MNIST was published.
    published = "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"
    assert hashlib.sha256(data["test"].images.tobytes()).hexdigest() == published


PIXELS = {
    "uint8": lambda images: images,
    "int64": lambda images: images.astype(np.int64),
    "big-endian int16": lambda images: images.astype(">i2"),
    "float64 in 0..255": lambda images: images.astype(np.float64),
    "float32 in 0..1": lambda images: (images / 255).astype(np.float32),
    "float64 in 0..1": lambda images: images / 255,
    "channel last": lambda images: images[..., None],
    "channel first": lambda images: images[:, None],
    "three channels": lambda images: np.repeat(images[..., None], 3, axis=3),
    "three channels first": lambda images: np.repeat(images[:, None], 3, axis=1),
    "flat": lambda images: images.reshape(len(images), -1),
    "Fortran order": lambda images: np.asfortranarray(images),
    "Fortran order, flat floats": lambda images: np.asfortranarray(images.reshape(len(images), -1) / 255),
}
LABELS = {
    "int64": lambda labels: labels.astype(np.int64),
    "int8": lambda labels: labels.astype(np.int8),
    "uint64": lambda labels: labels.astype(np.uint64),
    "whole floats": lambda labels: labels.astype(np.float32),
    "column": lambda labels: labels[:, None],
    "one-hot": lambda labels: np.eye(10)[labels],
    "one-hot bool": lambda labels: np.eye(10, dtype=bool)[labels],
}
KEYS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("X_train", "Y_train", "X_test", "Y_test"),
)


@pytest.mark.parametrize("kind", PIXELS)
def test_pixels_of_every_usual_kind_give_the_same_images(digits, kind):
    np.savez("data.npz", **{key: PIXELS[kind](value) if key[0] == "x" else value for key, value in digits.items()})
    assert whole(ingest("data.npz")) == expected(digits)


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_usual_kind_give_the_same_classes(digits, kind):
    np.savez("data.npz", **{key: LABELS[kind](value) if key[0] == "y" else value for key, value in digits.items()})
    assert whole(ingest("data.npz")) == expected(digits)


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_keeps_its_own_test_split(digits, keys, save):
    save("data.npz", **dict(zip(keys, digits.values(), strict=True)))
    data = ingest("data.npz")
    assert whole(data) == expected(digits)
    assert np.array_equal(data["test"].images, digits["x_test"])
    assert np.array_equal(data["test"].labels, digits["y_test"])


@pytest.mark.parametrize("keys", [("X", "y"), ("x", "y"), ("images", "labels"), ("data", "target")])
def test_an_npz_without_a_split_gets_one(digits, keys):
    np.savez("data.npz", **dict(zip(keys, (digits["x_train"], digits["y_train"]), strict=True)))
    data = ingest("data.npz")
    assert [data[split].manifest.count for split in SPLITS] == [128, 32, 40]
    assert len(whole(data)) == 200


def test_several_parts_are_read_as_one_in_natural_order(digits, capsys):
    Path("parts").mkdir()
    for number, rows in ((2, slice(0, 90)), (10, slice(90, 200))):
        np.savez(f"parts/part-{number}.npz", x_train=digits["x_train"][rows], y_train=digits["y_train"][rows])
    np.savez("parts/test.npz", x_test=digits["x_test"], y_test=digits["y_test"])
    data = ingest("parts")
    assert whole(data) == expected(digits)
    assert np.array_equal(data["test"].images, digits["x_test"])
    assert (
        "found 3 .npz files, read as one, with 200 images for training and 60 for the test" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "names",
    ["{}-{}-idx{}-ubyte", "{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte", "emnist-digits-{}-{}-idx{}-ubyte.gz"],
)
def test_four_idx_files_are_read(digits, names):
    write_four(Path("idx"), digits, names)
    (Path("idx") / "readme.txt").write_text("about")
    data = ingest("idx")
    assert whole(data) == expected(digits)
    assert np.array_equal(data["test"].images, digits["x_test"])


def test_idx_files_may_hold_wider_numbers(digits):
    wide = {key: value.astype(np.int32 if key[0] == "y" else np.float32) for key, value in digits.items()}
    write_four(Path("idx"), wide)
    assert whole(ingest("idx")) == expected(digits)


def test_class_folders_of_pictures_are_read_with_their_names(digits, capsys):
    names = np.array(["zero", "class 2", "class 10"])
    chosen = digits["y_train"] < 3
    write_pictures(Path("set"), digits["x_train"][chosen], names[digits["y_train"][chosen]])
    for junk in (".DS_Store", "zero/.DS_Store", "zero/notes.txt", "readme.md"):
        (Path("set") / junk).write_text("junk")
    data = ingest("set")
    assert data["training"].manifest.classes == ("class 2", "class 10", "zero")
    images = {bytes(image): int(label) for image, label in zip(digits["x_train"], digits["y_train"], strict=True)}
    assert {image: (2, 0, 1)[images[image]] for image in images if images[image] < 3} == whole(data)
    assert "Left out files that are neither PNG nor JPEG: 1 .txt." in capsys.readouterr().out


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing")])
def test_class_folders_may_come_with_their_own_test(digits, names, capsys):
    for part, name in zip(("train", "test"), names, strict=True):
        write_pictures(Path("set") / name, digits[f"x_{part}"], digits[f"y_{part}"])
    write_pictures(Path("set/val"), digits["x_test"], digits["y_test"])
    data = ingest("set")
    assert whole(data) == expected(digits)
    assert data["test"].manifest.count == 60
    assert "Left out the folder val: validation is split off the training images." in capsys.readouterr().out


def test_class_folders_in_a_bucket_are_read_and_other_objects_left(storage_server, digits, capsys):
    bucket = storage.Client(project="test").create_bucket("digits")
    try:
        write_pictures(Path("set"), digits["x_test"], digits["y_test"])
        (Path("set") / "notes.txt").write_text("about")
        for path in Path("set").rglob("*.*"):
            bucket.blob(str(path)).upload_from_filename(path)
        data = ingest("gs://digits/set")
    finally:
        bucket.delete(force=True)
    assert sum(data[split].manifest.count for split in SPLITS) == 60
    assert data["test"].manifest.origin == data["test"].manifest.source == "gs://digits/set"
    assert "downloading 60 objects" in capsys.readouterr().out


def test_dark_ink_on_white_is_inverted_and_said(digits, capsys):
    np.savez("data.npz", **{key: 255 - value if key[0] == "x" else value for key, value in digits.items()})
    data = ingest("data.npz")
    assert whole(data) == expected(digits)
    sentence = "Inverted dark ink on a light background (100% of the pictures have it); polarity=light keeps it."
    assert data["test"].manifest.notes == (sentence,)
    assert sentence in capsys.readouterr().out


@pytest.mark.parametrize(("polarity", "is_inverted"), [("auto", True), ("dark", True), ("light", False)])
def test_the_polarity_can_be_given(digits, polarity, is_inverted):
    images = {key: 255 - value if key[0] == "x" else value for key, value in digits.items()}
    np.savez("data.npz", **images)
    assert whole(ingest("data.npz", polarity=polarity)) == expected(digits if is_inverted else images)


def test_images_of_another_size_are_scaled(digits, capsys):
    small = {key: value[:, 4:24, 2:26] if key[0] == "x" else value for key, value in digits.items()}
    np.savez("data.npz", **small)
    data = ingest("data.npz")
    assert data["training"].manifest.notes == ("Scaled pictures of 24x20 to 28x28 in grey, proportions kept.",)
    assert not data["training"].images[:, :2].any(), "the background continues above and below"
    assert data["training"].images[:, 2:-2].any()


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_pictures_of_ones_and_zeros_are_scaled_to_full_range(digits, kind):
    bits = {key: (value > 127).astype(kind) if key[0] == "x" else value for key, value in digits.items()}
    np.savez("data.npz", **bits)
    data = ingest("data.npz")
    assert set(np.unique(data["training"].images)) == {0, 255}
    assert data["training"].manifest.notes == ("Scaled pixels from 0..1 to 0..255.",)


def test_one_bright_pixel_anywhere_decides_that_floats_go_to_255(digits):
    dim = {key: value / 255 if key[0] == "x" else value for key, value in digits.items()}
    for key in ("x_train", "x_test"):
        dim[key][-1, -1, -1] = 255
    np.savez("data.npz", **dim)
    assert np.median(ingest("data.npz")["test"].images.max(axis=(1, 2))) == 1


def test_faint_pictures_are_mentioned(digits):
    faint = {key: value // 16 if key[0] == "x" else value for key, value in digits.items()}
    np.savez("data.npz", **faint)
    assert ingest("data.npz")["test"].manifest.notes == ("Pictures are faint: the largest pixel is 15 of 255.",)


def test_a_class_that_the_test_lacks_is_mentioned(digits):
    keep = digits["y_test"] != 3
    np.savez("data.npz", **{**digits, "x_test": digits["x_test"][keep], "y_test": digits["y_test"][keep]})
    data = ingest("data.npz")
    assert data["test"].manifest.notes == ("The test has no image of class 3.",)
    assert data["test"].manifest.class_counts[3] == 0


def test_arrays_that_are_not_used_are_named(digits):
    np.savez("data.npz", **digits, x_val=digits["x_test"], info=np.array("text"))
    assert ingest("data.npz")["test"].manifest.notes == ("Left out of data.npz: x_val, info.",)


# The split


def test_the_split_keeps_the_share_of_every_class_and_loses_nothing(digits):
    labels = np.array([0] * 100 + [1] * 30 + [2] * 10)
    images = np.arange(140 * 784).reshape(140, 28, 28) % 251
    np.savez("data.npz", X=images, y=labels)
    data = ingest("data.npz", test_fraction=0.1, validation_fraction=0.5)
    assert data["test"].manifest.class_counts == (10, 3, 1)
    assert sorted(data["validation"].manifest.class_counts, reverse=True) == list(
        data["validation"].manifest.class_counts
    )
    assert sum(data[split].manifest.count for split in SPLITS) == 140
    assert len(whole(data)) == len(np.unique(images.reshape(140, -1), axis=0))


def test_three_images_of_a_class_are_enough_for_all_three_parts(digits):
    labels = np.repeat([0, 1], [3, 40])
    np.savez("data.npz", X=digits["x_train"][:43], y=labels)
    data = ingest("data.npz", test_fraction=0.5, validation_fraction=0.5)
    assert [data[split].manifest.class_counts[0] for split in SPLITS] == [1, 1, 1]


def test_the_same_seed_gives_the_same_data_and_another_seed_another_split():
    sums = [[ingest("sample", seed=seed)[split].manifest.sha256 for split in SPLITS] for seed in (1, 1, 2)]
    assert sums[0] == sums[1]
    assert sums[0][2] == sums[2][2], "the source's own test split stays"
    assert sums[0][0] != sums[2][0]


def test_training_images_are_mixed_even_where_the_source_is_sorted(digits):
    order = np.argsort(digits["y_train"], kind="stable")
    np.savez("data.npz", X=digits["x_train"][order], y=digits["y_train"][order])
    assert len(set(ingest("data.npz")["training"].labels[:40].tolist())) == 10


# What is refused


def savez(digits: dict[str, np.ndarray], **changes: np.ndarray) -> str:
    np.savez("data.npz", **{**digits, **changes})
    return "data.npz"


def change(values: np.ndarray, index: object, value: object, kind: type = float) -> np.ndarray:
    changed = values.astype(kind)
    changed[index] = value
    return changed


REFUSED = {
    "nan": (
        lambda d: {"x_train": change(d["x_train"], (3, 0, 0), np.nan)},
        "data.npz: x_train: image 3 has pixels that are NaN or infinite; expected numbers from 0 to 1 or 0 to 255.",
    ),
    "infinite": (
        lambda d: {"x_test": change(d["x_test"], (59, 1, 1), np.inf)},
        "data.npz: x_test: image 59 has pixels that are NaN or infinite",
    ),
    "negative": (
        lambda d: {"x_train": d["x_train"] / 127.5 - 1},
        "data.npz: x_train: pixels from -1 to 1; expected 0 to 1 or 0 to 255. Undo the normalisation",
    ),
    "16-bit": (
        lambda d: {"x_train": d["x_train"].astype(np.uint16) * 257},
        "data.npz: x_train: pixels from 0 to 65535; expected 0 to 1 or 0 to 255. Divide by 257",
    ),
    "mixed ranges": (
        lambda d: {"x_train": d["x_train"] / 255},
        "data.npz: x_train: pixels up to 1, but up to 255 in data.npz: x_test; expected 0 to 1 or 0 to 255 in both.",
    ),
    "blank": (
        lambda d: {"x_train": d["x_train"] * 0, "x_test": d["x_test"] * 0},
        "data.npz: every pixel of every image is 0; expected pictures.",
    ),
    "counts": (
        lambda d: {"y_train": d["y_train"][:-1]},
        "data.npz: x_train: 200 images, shape (200, 28, 28), but 199 labels in data.npz: y_train; expected a label",
    ),
    "count last": (
        lambda d: {"x_train": np.moveaxis(d["x_train"], 0, -1)},
        "expected a label for each image, counted along the first axis. Move the axis: numpy.moveaxis(images, -1, 0).",
    ),
    "one-based": (
        lambda d: {"y_train": d["y_train"] + 1, "y_test": d["y_test"] + 1},
        "data.npz: labels run from 1 to 10; expected class numbers from 0. Subtract 1 from all labels",
    ),
    "gap": (
        lambda d: {"y_train": d["y_train"] * 2, "y_test": d["y_test"] * 2},
        "data.npz: labels go up to 18 but no training image has 1, 3, 5, 7, 9 and 4 more; expected images",
    ),
    "negative label": (
        lambda d: {"y_train": d["y_train"].astype(int) - 1},
        "data.npz: y_train: has the label -1; expected class numbers from 0.",
    ),
    "fraction": (
        lambda d: {"y_train": change(d["y_train"], 5, 2.5)},
        "data.npz: y_train: has the label 2.5; expected whole class numbers from 0.",
    ),
    "nan label": (lambda d: {"y_train": change(d["y_train"], 5, np.nan)}, "y_train: has the label nan; expected whole"),
    "huge label": (
        lambda d: {"y_train": change(d["y_train"], 5, 2**62, np.int64)},
        "data.npz: y_train: has the label 4.6",
    ),
    "too many classes": (
        lambda d: {"y_train": change(d["y_train"], 5, 256, np.int64)},
        "data.npz: has the label 256; at most 256 classes, 0 to 255, fit.",
    ),
    "soft labels": (
        lambda d: {"y_train": np.full((200, 10), 0.1)},
        "data.npz: y_train: row 0 is [0.1 0.1 0.1",
    ),
    "text labels": (
        lambda d: {"y_train": d["y_train"].astype(str)},
        "data.npz: y_train: holds <U3 values; expected numbers (integers, floats or bool).",
    ),
    "one class": (
        lambda d: {"y_train": d["y_train"] * 0, "y_test": d["y_test"] * 0},
        "data.npz: every training image has the label 0; expected at least two classes.",
    ),
    "unknown test class": (
        lambda d: {"y_test": change(d["y_test"], 0, 10, int)},
        "data.npz: a test image has the label 10 but training labels end at 9; expected the same classes in both.",
    ),
    "lonely class": (
        lambda d: {"y_train": change(d["y_train"], 0, 10, int)},
        "data.npz: class 10 has 1 image; training and validation need one each, so 2 at least.",
    ),
    "empty": (
        lambda d: {"x_train": d["x_train"][:0], "y_train": d["y_train"][:0]},
        "data.npz: x_train: is empty, its shape is (0, 28, 28); expected at least one image.",
    ),
    "one number": (lambda d: {"x_train": np.array(5)}, "data.npz: x_train: is empty, its shape is ()"),
    "no images": (
        lambda d: {"x_train": np.zeros((200, 5))},
        "data.npz: x_train: the shape (200, 5) cannot be images; expected (n, height, width), with a channel axis",
    ),
    "thin": (lambda d: {"x_train": np.zeros((200, 1, 784))}, "the shape (200, 1, 784) cannot be images"),
    "five axes": (
        lambda d: {"x_train": np.zeros((200, 28, 28, 1, 1))},
        "the shape (200, 28, 28, 1, 1) cannot be images",
    ),
    "too large": (
        lambda d: {"x_train": np.zeros((2, 2001, 2000), bool), "y_train": np.arange(2)},
        "data.npz: x_train: images of 4,002,000 values each, shape (2, 2001, 2000); expected at most 4,000,000.",
    ),
    "objects": (
        lambda d: {"x_train": np.array([print] * 200, dtype=object)},
        "data.npz: x_train: holds Python objects, which are never unpickled because a pickle can run code; expected",
    ),
    "complex": (
        lambda d: {"x_train": d["x_train"] * 1j},
        "data.npz: x_train: holds complex128 values; expected numbers",
    ),
    "swapped": (
        lambda d: {"x_train": d["y_train"], "y_train": d["x_train"]},
        "data.npz: x_train: the shape (200,) cannot be images",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_are_no_data_set_are_refused(digits, case):
    changes, words = REFUSED[case]
    assert words in refuse(savez(digits, **changes(digits)))


def test_arrays_under_unknown_names_are_refused(digits):
    np.savez("data.npz", pictures=digits["x_train"], kinds=digits["y_train"])
    words = "data.npz: has the arrays pictures, kinds; expected x_train, y_train, x_test, y_test, or train_images,"
    assert words in refuse("data.npz")


def test_a_test_without_training_is_refused(digits):
    np.savez("data.npz", x_test=digits["x_test"], y_test=digits["y_test"])
    assert "data.npz: has test images but none for training; expected x_train and y_train too." in refuse("data.npz")


def member(array: np.ndarray, **header: object) -> bytes:
    """The bytes of an .npy that announces what `header` says."""
    file = io.BytesIO()
    fields = np.lib.format.header_data_from_array_1_0(array) | header
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue() + array.tobytes()


def write_zip(path: str, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def test_a_small_file_that_announces_a_huge_array_is_refused_before_anything_is_allocated(digits):
    write_zip("data.npz", X=member(digits["x_train"], shape=(10**9, 28, 28)), y=member(digits["y_train"]))
    words = "data.npz: X: declares uint8 (1000000000, 28, 28), 784,000,000,000 bytes, but holds 156,800."
    assert words in refuse("data.npz")


def test_an_archive_that_unpacks_to_far_too_much_is_refused(digits, monkeypatch):
    monkeypatch.setattr("components.mnist.data.npz.BOMB_BYTES", 10**6)
    np.savez_compressed("data.npz", X=np.zeros((2000, 28, 28), np.uint8), y=digits["y_train"])
    assert "unpack to 1,568,128, over 500 times as many; no pictures compress that far." in refuse("data.npz")


def test_the_disk_is_asked_before_it_is_filled(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    words = "sample.npz: 1,797 images need 55,246,496 bytes of disk but"
    message = refuse("sample")
    assert words in message
    assert "has 1,000 left. Free some, or set TMPDIR to a folder with more." in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "bad.npz: looks like an empty file; expected an .npz file, or a folder with IDX files"),
        (b"PK\x03\x04 nothing more", "bad.npz: cannot be opened as .npz (File is not a zip file)."),
        (
            b"<!DOCTYPE html><html>Sign in</html>",
            "bad.npz: looks like an HTML page: is the address right, or do you need",
        ),
        (b"\n\n <html>", "bad.npz: looks like an HTML page: is the address right, or do you need to sign in?"),
        (b"\x80\x04\x95pickle", "bad.npz: looks like a Python pickle, which is never loaded because it can run code"),
        (b"hello world", "bad.npz: looks like a file that begins with b'hello wo'; expected an .npz file"),
        (b"\x1f\x8b\x08", "bad.npz: a gzip archive; expected an .npz file, or a folder"),
        (b"\x89PNG\r\n", "bad.npz: a single picture; expected an .npz file"),
        (b"\x93NUMPY", "bad.npz: a single array (.npy); expected an .npz file"),
    ],
)
def test_a_file_that_is_no_npz_is_refused_by_what_it_is(content, words):
    Path("bad.npz").write_bytes(content)
    assert words in refuse("bad.npz")


def test_a_damaged_or_cut_npz_is_refused(digits):
    np.savez_compressed("data.npz", **digits)
    content = bytearray(Path("data.npz").read_bytes())
    Path("data.npz").write_bytes(content[:-5000])
    assert "data.npz: cannot be opened as .npz (File is not a zip file)" in refuse("data.npz")
    content[1000:1400] = b"\xff" * 400
    Path("data.npz").write_bytes(content)
    assert "data.npz: x_train: cannot be read to its end (" in refuse("data.npz")


def test_an_npz_whose_checksum_is_wrong_is_refused(digits):
    np.savez("data.npz", **digits)
    content = bytearray(Path("data.npz").read_bytes())
    content[5000] ^= 1
    Path("data.npz").write_bytes(content)
    assert "data.npz: x_train: cannot be read to its end (Bad CRC-32 for file 'x_train.npy')" in refuse("data.npz")


def test_an_encrypted_npz_is_refused(digits):
    np.savez("data.npz", **digits)
    content = Path("data.npz").read_bytes()
    # The bit that says "encrypted", in the archive's directory and in front of each member.
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        found = [start for start in range(len(content)) if content.startswith(mark, start)]
        for start in found:
            content = content[: start + offset] + b"\x01\x00" + content[start + offset + 2 :]
    Path("data.npz").write_bytes(content)
    assert "data.npz: x_train: is encrypted; expected an .npz without a password." in refuse("data.npz")


def test_a_zip_of_something_else_is_refused():
    with zipfile.ZipFile("data.zip", "w") as archive:
        archive.writestr("0/picture.png", b"x")
    words = "data.zip: a zip archive without arrays (it holds 0/picture.png); expected an .npz"
    assert words in refuse("data.zip")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_that_are_cut_or_damaged_are_refused(digits, suffix):
    write_four(Path("idx"), digits, "{}-{}-idx{}-ubyte" + suffix)
    images = Path("idx") / f"train-images-idx3-ubyte{suffix}"
    content = images.read_bytes()
    images.write_bytes(content[: len(content) // 2])
    words = (
        "cannot be read to its end" if suffix else "declares 200 x 28 x 28 values, 156,816 bytes in all, but the file"
    )
    assert words in refuse("idx")
    images.write_bytes(content[:3])
    assert f"idx/train-images-idx3-ubyte{suffix}: " in refuse("idx")
    images.write_bytes(b"<html>please sign in</html>")
    assert f"idx/train-images-idx3-ubyte{suffix}: looks like an HTML page" in refuse("idx")
    images.write_bytes(b"\x00\x00\x08\x03" + b"\xff" * 12 + content)
    assert f"idx/train-images-idx3-ubyte{suffix}: declares 4294967295 x 4294967295 x 4294967295 values" in refuse("idx")
    images.write_bytes(b"\x00\x00\x07\x03" + content)
    words = "begins with 00 00 07 03; expected an IDX file, which begins with 00 00 08 03 for images"
    assert words in refuse("idx")


def test_a_gzipped_idx_file_may_not_continue_after_its_end(digits):
    write_four(Path("idx"), digits, "{}-{}-idx{}-ubyte.gz")
    labels = Path("idx/train-labels-idx1-ubyte.gz")
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes()) + b"more"))
    words = "train-labels-idx1-ubyte.gz: continues after the 200 entries that it declares."
    assert words in refuse("idx")


def test_an_idx_file_alone_and_an_incomplete_set_are_refused(digits):
    write_four(Path("idx"), digits)
    assert "one IDX file; expected the folder that holds all four" in refuse("idx/train-images-idx3-ubyte")
    Path("idx/t10k-labels-idx1-ubyte").unlink()
    assert "but no t10k-labels; expected all four IDX files. Add the missing files." in refuse("idx")


def test_two_sets_of_idx_files_in_a_folder_are_refused(digits):
    write_four(Path("idx"), digits, "emnist-digits-{}-{}-idx{}-ubyte")
    write_four(Path("idx"), digits, "emnist-letters-{}-{}-idx{}-ubyte")
    assert "expected one set of four IDX files. Give each set a folder of its own." in refuse("idx")


def test_an_unreadable_picture_among_good_ones_is_named(digits):
    write_pictures(Path("set"), digits["x_train"], digits["y_train"])
    bad = sorted(Path("set/3").iterdir())[2]
    content = bad.read_bytes()
    bad.write_bytes(content[:60])
    assert f"{bad}: cannot be read as a picture (" in refuse("set")
    bad.write_bytes(b"")
    assert f"{bad}: cannot be read as a picture (the file is empty); expected PNG or JPEG." in refuse("set")
    bad.write_bytes(b"GIF89a not allowed")
    assert f"{bad}: cannot be read as a picture (cannot identify image file)" in refuse("set")


def test_pictures_of_mixed_sizes_are_scaled_to_one_and_said(digits, capsys):
    write_pictures(Path("set"), digits["x_train"].repeat(2, 1).repeat(2, 2), digits["y_train"])
    first = next(Path("set/3").iterdir())
    for size, sentence in (((56, 56), "56x56"), ((60, 40), "60x40 and one other size")):
        Image.open(first).resize(size).save(first)
        data = ingest("set")
        assert data["test"].manifest.notes == (f"Scaled pictures of {sentence} to 28x28 in grey, proportions kept.",)


def test_pictures_that_are_all_blank_are_refused():
    write_pictures(Path("set"), np.full((10, 28, 28), 255, np.uint8), np.arange(10) % 2)
    assert "set: every picture is blank; expected pictures with visible ink." in refuse("set")


def test_folders_with_nothing_usable_are_refused_with_what_they_hold(digits):
    Path("empty").mkdir()
    assert "empty: holds nothing; expected the four IDX files, .npz files, or class folders" in refuse("empty")
    Path("texts").mkdir()
    Path("texts/a.csv").touch()
    assert "texts: holds a.csv; expected the four IDX files" in refuse("texts")
    write_pictures(Path("outer/inner"), digits["x_train"], digits["y_train"])
    assert (
        "outer: holds inner; expected the four IDX files, .npz files, or class folders with PNG or JPEG pictures. "
        "Did you mean outer/inner?"
    ) in refuse("outer")
    shutil.copytree("outer/inner/3", "flat")
    assert "Sort the pictures into a folder for each class, named as the class." in refuse("flat")
    shutil.copytree("outer/inner/3", "single/3")
    assert "single: holds the folder 3; expected a folder for each class, at least two" in refuse("single")
    (Path("outer/inner") / "eleven").mkdir()
    assert "outer/inner/eleven: no PNG or JPEG pictures in it (found: nothing); expected some" in refuse("outer/inner")


def test_a_test_without_pictures_is_refused(digits):
    write_pictures(Path("set/train"), digits["x_train"], digits["y_train"])
    for name in "01":
        Path("set/test", name).mkdir(parents=True)
    assert "set/test: no PNG or JPEG pictures in its class folders; expected some." in refuse("set")


def test_a_test_class_that_training_lacks_is_refused(digits):
    write_pictures(Path("set/train"), digits["x_train"], digits["y_train"])
    write_pictures(Path("set/test"), digits["x_test"], digits["y_test"] + 1)
    assert "set/test: has the class 10, which set/train lacks; expected the same classes in both." in refuse("set")


# All or nothing


def test_settings_are_checked_first():
    with pytest.raises(SettingError, match=r"test_fraction=0.9: expected 0.01 to 0.5"):
        ingest("sample", test_fraction=0.9)


def test_what_was_there_stays_until_all_three_are_written(digits, monkeypatch):
    before = ingest("sample")["training"].manifest
    write = step.write_dataset

    def fail_at_last(folder: Path, *args: object, **kwargs: object) -> object:
        if kwargs["split"] == "test":
            raise OSError(28, "No space left on device", "out/test")
        return write(folder, *args, **kwargs)

    monkeypatch.setattr(step, "write_dataset", fail_at_last)
    with pytest.raises(DataError, match=r"sample: reading or writing failed, out/test: No space left on device"):
        ingest("sample", seed=99)
    assert read_dataset(Path("out/training")).manifest == before
    assert sorted(path.name for path in Path("out").iterdir()) == ["test", "training", "validation"]


def test_a_refusal_is_left_for_whoever_started_the_step(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_ERROR_FILE", str(tmp_path / "error.json"))
    message = refuse("nowhere.npz")
    error = json.loads((tmp_path / "error.json").read_text())
    assert error["error"] == "DataError"
    assert error["expected"] is True
    assert error["message"] == message
