"""Both files hold the plain network, in float32, and give the same probabilities."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from components.mnist.training import devices

devices.prepare_keras()

import keras  # noqa: E402

from components.mnist.errors import ModelError  # noqa: E402
from components.mnist.model import scale  # noqa: E402
from components.mnist.training import export  # noqa: E402
from components.mnist.training.network import build_network  # noqa: E402


@pytest.fixture(scope="module")
def network() -> keras.Sequential:
    """New weights for seven classes, every bias away from zero so that none can get lost."""
    keras.utils.set_random_seed(0)
    network = build_network(7, precision="float32")
    random = np.random.default_rng(0)
    network.set_weights([weight + random.normal(0, 0.02, weight.shape) for weight in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def images(digits: dict[str, np.ndarray]) -> np.ndarray:
    return digits["x_test"]


@pytest.fixture(scope="module")
def folder(network: keras.Sequential, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    assert 0 <= export.export_network(network, images, folder=folder) <= 1e-5
    return folder


@pytest.mark.parametrize("count", [1, 2, 60])
def test_onnx_gives_what_the_network_gives_for_any_number_of_images(
    folder: Path, network: keras.Sequential, images: np.ndarray, count: int
) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (probabilities,) = session.run(None, {"images": scale(images[:count])})
    np.testing.assert_allclose(probabilities, network.predict(scale(images[:count]), verbose=0), atol=1e-5)


def test_onnx_names_its_input_output_and_batch(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    described = [(value.name, value.type, value.shape) for value in (*session.get_inputs(), *session.get_outputs())]
    assert described == [
        ("images", "tensor(float)", ["batch", 28, 28, 1]),
        ("probabilities", "tensor(float)", ["batch", 7]),
    ]


def test_keras_file_holds_the_seven_layers_in_float32_and_no_training(folder: Path, network: keras.Sequential) -> None:
    saved = keras.models.load_model(folder / "model.keras")
    assert [layer.name for layer in saved.layers] == [layer.name for layer in network.layers]
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    assert not saved.compiled
    for weight, original in zip(saved.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, original)


def test_onnx_file_holds_every_weight(folder: Path, network: keras.Sequential) -> None:
    graph = onnx.load(folder / "model.onnx").graph
    floats = [constant for constant in graph.initializer if constant.data_type == onnx.TensorProto.FLOAT]
    assert sum(int(np.prod(constant.dims)) for constant in floats) == network.count_params()


def test_the_same_weights_are_the_same_bytes(
    folder: Path, network: keras.Sequential, images: np.ndarray, tmp_path: Path
) -> None:
    export.export_network(network, images, folder=tmp_path)
    for file in ("model.keras", "model.onnx"):
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes(), file


def test_the_archive_tells_no_time(folder: Path) -> None:
    with zipfile.ZipFile(folder / "model.keras") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json")).keys() == {"keras_version"}


def test_files_that_differ_are_refused(folder: Path, network: keras.Sequential, images: np.ndarray) -> None:
    expected = network.predict(scale(images), verbose=0)
    expected[3, 2] += 0.001
    with pytest.raises(ModelError, match=r"differ by 1\.0e-03 on 60 images; expected at most 1e-05"):
        export.compare(folder / "model.onnx", scale(images), expected)
    expected[3, 2] = np.nan
    with pytest.raises(ModelError, match="differ by nan"):
        export.compare(folder / "model.onnx", scale(images), expected)
