"""What `docs/data.md` says that bad data gets is what it gets."""

import io
import re
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from components.mnist.data.sources import SAMPLE
from components.mnist.data.step import ingest_data
from components.mnist.errors import DataError
from components.mnist.storage import https
from pipelines.container_images import ROOT

TABLE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("| data | line |\n|---|---|\n")[2]
LINES = dict(re.findall(r"(?m)^\| (.+?) \| `(.+)` \|$", TABLE))

with np.load(SAMPLE) as _sample:
    IMAGES, LABELS = _sample["x_train"], _sample["y_train"].astype(np.int64)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(https, "BACKOFF_SECONDS", 0.01)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that refuses connections: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def save(name: str, **arrays: np.ndarray) -> None:
    np.savez(name, **({"X": IMAGES, "y": LABELS} | arrays))


def damage() -> None:
    with np.load(SAMPLE) as sample:
        np.savez("corrupt.npz", **sample)
    content = bytearray(Path("corrupt.npz").read_bytes())
    content[10_000] ^= 1  # in the pixels of x_train
    Path("corrupt.npz").write_bytes(content)


def announce_too_much() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    with zipfile.ZipFile("huge.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue() + b"abc")
        archive.writestr("y.npy", b"")


def draw_pictures() -> None:
    from PIL import Image

    for digit in ("0", "1"):
        Path("pics", digit).mkdir(parents=True)
        for number in range(9):
            Image.fromarray(IMAGES[number]).save(f"pics/{digit}/{number}.png")
    Path("pics/1/7.png").write_bytes(b"no picture")


MAKE: dict[str, Callable[[], object]] = {
    "a wrong name": lambda: shutil.copy(SAMPLE, "digit.npz"),
    "truncated": lambda: Path("truncated.npz").write_bytes(SAMPLE.read_bytes()[:9000]),
    "damaged": damage,
    "a web page": lambda: Path("page.npz").write_text("<!DOCTYPE html><html><body>Sign in</body></html>"),
    "counts that differ": lambda: save("counts.npz", y=LABELS[:-1]),
    "Python objects": lambda: save("objects.npz", X=np.array([None] * len(LABELS))),
    "labels from 1": lambda: save("onebased.npz", y=LABELS + 1),
    "fractions as labels": lambda: save("frac.npz", y=np.where(LABELS == 3, 3.5, LABELS)),
    "NaN": lambda: save("nan.npz", X=np.full(IMAGES.shape, np.nan, np.float32)),
    "one class": lambda: save("oneclass.npz", y=LABELS * 0),
    "not images": lambda: save("shape.npz", X=IMAGES.reshape(len(IMAGES), -1)[:, :700]),
    "a false size": announce_too_much,
    "a bad picture among good ones": draw_pictures,
    "no network": lambda: None,
    "another scheme": lambda: None,
}


def test_every_line_has_its_data() -> None:
    assert list(LINES) == list(MAKE)


@pytest.mark.parametrize("data", LINES)
def test_bad_data_gets_the_line_of_the_page(data: str, closed_port: int) -> None:
    MAKE[data]()
    source, line = LINES[data].partition(":")[0], LINES[data]
    if data == "no network":
        source = f"http://127.0.0.1:{closed_port}/m.npz"
        line = line.replace("https://...", source)
    elif data == "another scheme":
        source = "ftp://h/m.npz"
    elif "/" in source:
        source = source.partition("/")[0]
    folders = {f"{split}_folder": Path("out", split) for split in ("training", "validation", "test")}
    with pytest.raises(DataError) as refusal:
        ingest_data(source=source, polarity="auto", validation_fraction=0.1, test_fraction=0.2, seed=0, **folders)
    assert re.fullmatch(re.escape(line).replace(r"\.\.\.", ".*"), str(refusal.value)), refusal.value
    assert not any(folder.exists() for folder in folders.values())
