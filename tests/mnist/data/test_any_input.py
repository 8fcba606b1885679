"""Whatever a file holds, the outcome is a data set that can be read, or one line that says why not."""

import gzip
import io
import itertools
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from components.mnist.data.datasets import read_dataset
from components.mnist.data.sources import SAMPLE
from components.mnist.data.step import ingest_data
from components.mnist.errors import DataError

SPLITS = ("training", "validation", "test")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

budget = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def judge(source: Path) -> bool:
    """Ingest a source: whether it became a data set. Any exception but a one-line DataError passes through."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        refusal = ""
        try:
            ingest_data(
                source=str(source),
                polarity="auto",
                validation_fraction=0.1,
                test_fraction=0.2,
                seed=0,
                **{f"{split}_folder": out / split for split in SPLITS},
            )
        except DataError as error:
            refusal = str(error)
        if refusal:
            assert len(refusal) > 20
            assert "\n" not in refusal
            assert list(out.iterdir()) == []
            return False
        for split in SPLITS:
            data = read_dataset(out / split)
            assert data.manifest.count == len(data.images) == sum(data.manifest.class_counts) > 0
            assert int(data.labels.max()) < len(data.manifest.classes)
        return True


@pytest.fixture
def make_folder(tmp_path):
    """A new folder for each example."""
    numbers = itertools.count()

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    yield make
    shutil.rmtree(tmp_path, ignore_errors=True)


def valid_npz() -> bytes:
    file = io.BytesIO()
    with np.load(SAMPLE) as sample:
        np.savez_compressed(file, X=sample["x_train"][:60], y=sample["y_train"][:60])
    return file.getvalue()


def valid_idx(name: str) -> bytes:
    with np.load(SAMPLE) as sample:
        part = "train" if name.startswith("train") else "test"
        array = sample[f"{'x' if 'images' in name else 'y'}_{part}"][:60]
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def valid_png() -> bytes:
    file = io.BytesIO()
    with np.load(SAMPLE) as sample:
        Image.fromarray(sample["x_train"][0]).save(file, "PNG")
    return file.getvalue()


NPZ, PNG = valid_npz(), valid_png()
IDX_FILES = {name: valid_idx(name) for name in IDX}


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """A valid file cut, with bytes changed, doubled, or with others put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(changed) - 1))
        match draw(st.sampled_from(["set", "cut", "insert", "drop", "append"])):
            case "set":
                changed[at] = draw(st.integers(0, 255))
            case "cut" if at:
                del changed[at:]
            case "insert":
                changed[at:at] = draw(st.binary(max_size=8))
            case "drop" if len(changed) > 20:
                del changed[at : at + 4]
            case "append":
                changed += draw(st.binary(max_size=8))
    return bytes(changed)


STARTS = st.sampled_from(
    [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x1f\x8b\x08", b"\x89PNG\r\n\x1a\n", b"\0\0\x08\x03"]
)


@budget
@given(
    start=STARTS, content=st.binary(max_size=200), suffix=st.sampled_from([".npz", ".npy", ".gz", ".png", ".zip", ""])
)
def test_any_bytes_under_any_name(make_folder, start, content, suffix):
    path = make_folder() / f"data{suffix}"
    path.write_bytes(start + content)
    assert not judge(path)


@budget
@given(content=damage(NPZ))
@example(content=NPZ)
def test_a_damaged_npz(make_folder, content):
    path = make_folder() / "data.npz"
    path.write_bytes(content)
    assert judge(path) or content != NPZ


@budget
@given(name=st.sampled_from(IDX), data=st.data(), packed=st.booleans())
def test_a_damaged_idx_file_among_good_ones(make_folder, name, data, packed):
    folder = make_folder()
    for each, content in IDX_FILES.items():
        content = gzip.compress(content, 1) if packed else content
        content = data.draw(damage(content)) if each == name else content
        (folder / (each + ".gz" * packed)).write_bytes(content)
    judge(folder)


@budget
@given(content=damage(PNG) | st.binary(max_size=100), suffix=st.sampled_from([".png", ".jpg", ".JPEG"]))
def test_a_damaged_picture_among_good_ones(make_folder, content, suffix):
    folder = make_folder()
    for kind in ("cat", "dog"):
        (folder / kind).mkdir()
        for number in range(5):
            (folder / kind / f"{number}.png").write_bytes(PNG)
    (folder / "dog" / f"bad{suffix}").write_bytes(content)
    judge(folder)


NUMBERS = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes(endianness="?")
    | arrays.unsigned_integer_dtypes(endianness="?")
    | arrays.floating_dtypes(endianness="?")
)
OTHERS = arrays.complex_number_dtypes() | arrays.unicode_string_dtypes() | arrays.datetime64_dtypes()


@budget
@given(
    images=arrays.arrays(NUMBERS | OTHERS, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6)),
    labels=arrays.arrays(NUMBERS | OTHERS, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)),
)
def test_any_arrays(make_folder, images, labels):
    path = make_folder() / "data.npz"
    np.savez(path, X=images, y=labels)
    judge(path)


@budget
@given(
    images=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, np.float64, bool]),
        st.sampled_from([(12, 5, 4), (12, 28, 28), (12, 8, 9, 1), (12, 3, 6, 6), (12, 64), (12, 784), (12, 40, 4, 4)]),
        elements=st.sampled_from([0, 1]),
    ),
    scale=st.sampled_from([1, 1, 0.5, 255, 256, -1, np.nan]),
    labels=st.lists(st.integers(0, 2), min_size=12, max_size=12),
    fortran=st.booleans(),
)
def test_arrays_that_are_almost_right(make_folder, images, scale, labels, fortran):
    path = make_folder() / "data.npz"
    scaled = images if scale == 1 else images * np.float64(scale)
    np.savez(path, X=np.asfortranarray(scaled) if fortran else scaled, y=np.array(labels))
    judge(path)


@budget
@given(
    header=st.fixed_dictionaries(
        {
            "descr": st.sampled_from(["|u1", "<f8", "|O", "<U9", "|V3", "nonsense", "<i4", [("a", "<i4")]]),
            "fortran_order": st.booleans() | st.none(),
            "shape": st.lists(st.integers(-2, 3) | st.integers(2**30, 2**70), max_size=4).map(tuple) | st.none(),
        }
    ),
    version=st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"]),
    content=st.binary(max_size=50),
)
def test_any_header_of_an_array(make_folder, header, version, content):
    text = repr(header).encode()
    length = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    path = make_folder() / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", b"\x93NUMPY" + version + length + text + content)
        archive.writestr("y.npy", b"\x93NUMPY" + version + length + text + content)
    assert not judge(path)
