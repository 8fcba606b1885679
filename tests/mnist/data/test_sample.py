import hashlib
import runpy
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from components.mnist.data.sources import SAMPLE

SCRIPT = runpy.run_path(str(SAMPLE.with_name("make_sample.py")))


def test_the_sample_is_small_and_holds_every_digit_of_its_origin():
    assert SAMPLE.stat().st_size < 700_000
    with np.load(SAMPLE) as sample:
        assert sample["x_train"].shape == (1437, 28, 28)
        assert sample["x_test"].shape == (360, 28, 28)
        assert {sample[key].dtype for key in sample} == {np.dtype(np.uint8)}
        labels = np.concatenate([sample["y_train"], sample["y_test"]])
        assert np.array_equal(np.bincount(labels), np.bincount(load_digits().target))
        assert set(np.bincount(sample["y_test"])) <= {35, 36, 37}, "stratified"


def test_the_sample_follows_the_convention_of_mnist():
    with np.load(SAMPLE) as sample:
        images = np.concatenate([sample["x_train"], sample["x_test"]])
    assert images.max() == 255
    for axis in (1, 2):
        lines = images.any(axis=3 - axis)
        extent = 28 - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
        assert extent.max() == 20, "ink fits a box of 20"
        mass = images.sum(axis=3 - axis, dtype=float)
        centre = (mass * np.arange(28)).sum(axis=1) / mass.sum(axis=1)
        assert abs(centre - 13.5).max() < 1, "centred by mass"


def test_the_script_gives_the_same_bytes_when_run_again(tmp_path):
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in paths:
        SCRIPT["main"](path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with np.load(paths[0]) as made, np.load(SAMPLE) as committed:
        for key in committed:
            assert np.array_equal(made[key], committed[key])


def test_no_digit_is_in_both_training_and_test():
    with np.load(SAMPLE) as sample:
        training, test = ({hashlib.sha256(image).digest() for image in sample[key]} for key in ("x_train", "x_test"))
    assert not training & test
    assert len(training) + len(test) == 1797


def test_the_data_readme_names_every_variable_that_is_read():
    library = Path(SAMPLE.parent.parent / "components" / "mnist" / "data" / "sources.py").read_text()
    readme = SAMPLE.with_name("README.md").read_text()
    for name in ("MNIST_DATA_DIR", "MNIST_URL", "MNIST_SHA256"):
        assert f'environ.get("{name}")' in library
        assert f"`{name}`" in readme
