"""Measure the peak memory of ingest for growing inputs of every kind.

    python tests/benchmarks/ingest_memory.py [images ...]

Each row is a fresh process: what its imports alone hold, what it held at most, and the bound, which is twice the images
as uint8 plus 200 MB. Read from /proc, so on Linux only: ru_maxrss would count what the parent held too.
"""

import gzip
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

CONSTANT_BYTES = 200 * 2**20
COUNTS = (10_000, 70_000, 300_000)
MOST_PICTURES = 20_000  # more small files take long and show the same
BLOCK = 10_000

CHILD = """
import re, sys
from pathlib import Path
from components.mnist.data.step import ingest_data

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

imports = peak()
out = Path(sys.argv[2])
ingest_data(source=sys.argv[1], polarity="auto", validation_fraction=0.1, test_fraction=0.2, seed=0,
            training_folder=out / "training", validation_folder=out / "validation", test_folder=out / "test")
print(imports, peak())
"""


def draw(count: int, start: int = 0) -> np.ndarray:
    """Images with ink in the middle that do not pack to nothing, uint8 (count, 28, 28)."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 6:22, 6:22] = np.random.default_rng(start).integers(0, 256, (count, 16, 16))
    return images


def number(count: int) -> np.ndarray:
    """Labels of ten classes, uint8 (count,)."""
    return (np.arange(count) % 10).astype(np.uint8)


def write_npz(folder: Path, count: int, kind: str) -> Path:
    """An .npz under X and y, written member by member, so that the benchmark itself stays small."""
    path = folder / "data.npz"
    shape = (count, 784) if kind.startswith("flat") else (count, 28, 28)
    dtype = np.dtype(np.float64 if "float64" in kind else np.uint8)
    fortran = "Fortran" in kind
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if "packed" in kind else zipfile.ZIP_STORED) as archive:
        with archive.open("X.npy", "w", force_zip64=True) as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            if fortran:
                file.write(draw(count).astype(dtype).tobytes("F"))
            else:
                for start in range(0, count, BLOCK):
                    block = draw(min(BLOCK, count - start), start)
                    file.write((block / 255 if dtype.kind == "f" else block).astype(dtype).tobytes())
        with archive.open("y.npy", "w") as file:
            np.save(file, np.eye(10)[number(count)] if "one-hot" in kind else number(count))
    return path


def write_idx(folder: Path, count: int, kind: str) -> Path:
    """Four IDX files, gzipped."""
    for part, length in (("train", count - count // 6), ("t10k", count // 6)):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb", 1) as file:
            file.write(struct.pack(">IIII", 0x803, length, 28, 28))
            for start in range(0, length, BLOCK):
                file.write(draw(min(BLOCK, length - start), start).tobytes())
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">II", 0x801, length) + number(length).tobytes())
    return folder


def write_pictures(folder: Path, count: int, kind: str) -> Path:
    """Class folders of PNG files."""
    for start in range(0, count, BLOCK):
        for index, image in enumerate(draw(min(BLOCK, count - start), start), start):
            target = folder / str(index % 10)
            target.mkdir(exist_ok=True)
            Image.fromarray(image).save(target / f"{index}.png", compress_level=1)
    return folder


KINDS = {
    "uint8 .npz": write_npz,
    "uint8 .npz, packed": write_npz,
    "float64 .npz, packed, one-hot": write_npz,
    "flat float64 .npz": write_npz,
    "uint8 .npz, Fortran order": write_npz,
    "IDX, gzipped": write_idx,
    "PNG files": write_pictures,
}


def measure(kind: str, count: int) -> tuple[int, int]:
    """Ingest one kind of source in a process of its own.

    Returns:
        Bytes that the process held at most after its imports and at the end.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        source = KINDS[kind](folder / "source", count, kind)
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(source), str(folder / "out")], check=True, capture_output=True, text=True
        )
    imports, peak = (1024 * int(word) for word in child.stdout.split()[-2:])
    return imports, peak


def bound(count: int) -> int:
    """Bytes that ingest may hold."""
    return 2 * count * 784 + CONSTANT_BYTES


def main(counts: tuple[int, ...]) -> None:
    """Print a table; fail when a row is above the bound."""
    print(f"{'source':32}{'images':>10}{'as uint8':>12}{'imports':>12}{'peak':>12}{'bound':>12}  (MB)")
    failed = False
    for kind in KINDS:
        most = MOST_PICTURES if kind == "PNG files" else max(counts)
        for count in sorted({min(count, most) for count in counts}):
            imports, peak = measure(kind, count)
            failed |= peak > bound(count)
            figures = (count * 784, imports, peak, bound(count))
            print(f"{kind:32}{count:10,}" + "".join(f"{value / 2**20:12.0f}" for value in figures), flush=True)
    if failed:
        sys.exit("a peak is above its bound")


if __name__ == "__main__":
    main(tuple(int(word) for word in sys.argv[1:]) or COUNTS)
