"""The network is exactly the one that is promised, layer by layer."""

import re
from pathlib import Path

import numpy as np
import pytest

from components.mnist.training import devices

devices.prepare_keras()

from components.mnist.training import network  # noqa: E402
from components.mnist.training.network import build_network  # noqa: E402

LAYERS = [
    ("conv_1", "Conv2D", (26, 26, 32), 320),
    ("pool_1", "MaxPooling2D", (13, 13, 32), 0),
    ("conv_2", "Conv2D", (11, 11, 64), 18_496),
    ("pool_2", "MaxPooling2D", (5, 5, 64), 0),
    ("flatten", "Flatten", (1_600,), 0),
    ("dense", "Dense", (128,), 204_928),
    ("output", "Dense", (10,), 1_290),
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_layer_has_its_output_shape_and_parameters(precision: str) -> None:
    built = build_network(10, precision=precision)
    found = [(layer.name, type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in built.layers]
    assert found == LAYERS
    assert built.count_params() == 225_034
    assert built.input_shape == (None, 28, 28, 1)


def test_the_table_in_the_docstring_is_the_network() -> None:
    rows = re.findall(r"^\| (\w+) +\| ([\w ,]+?) +\| ([\w ,]+?) +\|$", network.__doc__ or "", re.MULTILINE)
    layers = {name: (shape, parameters) for name, shape, parameters in rows}
    for name, _, shape, parameters in LAYERS[:-1]:
        assert layers[name] == (" x ".join(f"{side:,}" for side in shape), f"{parameters:,}")
    assert layers["output"] == ("classes", f"{LAYERS[-1][3] // 10} x classes")


def test_the_table_in_the_readme_is_the_network() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| layer \| output \| parameters \|\n\|[-|]+\n((?:\|.*\n)+)", readme, re.MULTILINE)
    assert table, "README.md has no table of layers"
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")[1:]) for row in table[1].splitlines()]
    assert rows == [(" x ".join(f"{side:,}" for side in shape), f"{count:,}") for _, _, shape, count in LAYERS]
    assert "225,034 parameters in all" in readme


def test_activations_are_relu_and_at_last_softmax() -> None:
    activations = {
        layer.name: layer.activation.__name__
        for layer in build_network(10, precision="float32").layers
        if hasattr(layer, "activation")
    }
    assert activations == {"conv_1": "relu", "conv_2": "relu", "dense": "relu", "output": "softmax"}


def test_there_are_as_many_outputs_as_classes() -> None:
    assert build_network(26, precision="float32").output_shape == (None, 26)


def test_bfloat16_is_for_computing_only() -> None:
    built = build_network(10, precision="bfloat16")
    assert {layer.compute_dtype for layer in built.layers[:-1]} == {"bfloat16"}
    assert built.layers[-1].compute_dtype == "float32"
    assert {weight.dtype for weight in built.weights} == {"float32"}
    probabilities = np.asarray(built(np.random.default_rng(0).random((4, 28, 28, 1), np.float32)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
