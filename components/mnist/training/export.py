"""Write a trained network to model.keras and model.onnx, in float32, the same bytes for the same weights.

Both hold only the layers of `network.py`, and are compared on real images before they are used.
"""

import json
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime

from components.mnist.errors import ModelError
from components.mnist.model import INPUT_NAME, scale

OUTPUT_NAME = "probabilities"
# float32 has seven significant digits; adding in another order costs one or two of them.
LARGEST_DIFFERENCE = 1e-5
EARLIEST_DATE = (1980, 1, 1, 0, 0, 0)  # in a zip archive


def export_network(network: keras.Sequential, images: np.ndarray, *, folder: Path) -> float:
    """Write `model.keras` and `model.onnx`, and check that they agree.

    Args:
        network: In float32 and not compiled, so that the files hold only the layers.
        images: uint8 (n, 28, 28), ink is 255: real images to compare on.
        folder: An existing folder.

    Returns:
        The largest difference between the two files' probabilities.

    Raises:
        ModelError: The difference is above 1e-5, or not a number.
    """
    network.save(folder / "model.keras")
    _remove_dates(folder / "model.keras")
    inputs = scale(images)
    # Read back, so that the written file is compared. Keras exports only a network that has been called.
    saved = keras.models.load_model(folder / "model.keras", compile=False)
    expected = keras.ops.convert_to_numpy(saved(inputs))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)  # raised by Keras itself
        saved.export(folder / "model.onnx", format="onnx", verbose=False)
    _rename(folder / "model.onnx")
    return compare(folder / "model.onnx", inputs, expected)


def compare(onnx_file: Path, inputs: np.ndarray, expected: np.ndarray) -> float:
    """Compare the probabilities of an ONNX model with those of Keras.

    Args:
        inputs: float32 (n, 28, 28, 1) in 0..1.
        expected: Keras' probabilities, float32 (n, classes).

    Returns:
        The largest difference.

    Raises:
        ModelError: The difference is above 1e-5, or not a number.
    """
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    found = session.run([OUTPUT_NAME], {INPUT_NAME: inputs})[0]
    difference = float(np.abs(found - expected).max())
    if not difference <= LARGEST_DIFFERENCE:  # also true for NaN
        raise ModelError(
            f"model.onnx and model.keras differ by {difference:.1e} on {len(inputs)} images; expected at most "
            f"{LARGEST_DIFFERENCE:.0e}. Nothing was written: check the versions of tf2onnx and onnxruntime."
        )
    return difference


def _remove_dates(file: Path) -> None:
    """Rewrite a .keras archive without the time of saving, so that equal networks give equal files."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["metadata.json"])
    metadata.pop("date_saved")
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EARLIEST_DATE), content)


def _rename(file: Path) -> None:
    """Rename everything inside an ONNX model.

    Servers expose the names of the output and of the batch axis. tf2onnx numbers inner names in the order of Python
    sets, which differs between processes: equal networks would give different files.
    """
    model = onnx.load(file)
    graph = model.graph
    names = {value.name: value.name for value in graph.input} | {graph.output[0].name: OUTPUT_NAME}
    constants = {constant.name: constant for constant in graph.initializer}
    used: list[onnx.TensorProto] = []  # in the order of use, which is the same in every process
    for node in graph.node:
        for name in node.input:
            if name in constants and name not in names:
                names[name] = f"constant_{len(used)}"
                used.append(constants[name])
        for name in node.output:
            names.setdefault(name, f"value_{len(names)}")
        node.name = ""
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for constant in used:
        constant.name = names[constant.name]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(used)
    graph.output[0].name = OUTPUT_NAME
    graph.doc_string = ""  # tf2onnx writes a counter of TensorFlow's functions there
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, file)
