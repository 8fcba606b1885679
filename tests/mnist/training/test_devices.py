"""Which device trains, in which precision, and what is said when a required GPU is missing."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from components.mnist.errors import DeviceError
from components.mnist.training import devices
from components.mnist.training.devices import Device, choose_precision

PLAIN = Device("CPU, 2 cores, plain", is_gpu=False, has_bfloat16=False)
WITH_BFLOAT16 = Device("GPU, NVIDIA L4", is_gpu=True, has_bfloat16=True)


def has_gpu() -> bool:
    devices.prepare_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@pytest.mark.parametrize(
    ("setting", "device", "precision"),
    [
        ("auto", PLAIN, "float32"),
        ("auto", WITH_BFLOAT16, "bfloat16"),
        ("float32", WITH_BFLOAT16, "float32"),
        ("bfloat16", PLAIN, "bfloat16"),
    ],
)
def test_auto_chooses_bfloat16_where_the_hardware_supports_it(setting: str, device: Device, precision: str) -> None:
    assert choose_precision(setting, device) == precision


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems show GPUs in other ways")
def test_a_missing_gpu_is_reported_without_loading_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from components.mnist.errors import DeviceError\n"
        "from components.mnist.training import devices\n"
        f"devices.GPU_FILES = ({str(tmp_path / 'nvidia')!r},)\n"
        "try:\n"
        "    devices.refuse_without_gpu_files()\n"
        "except DeviceError as error:\n"
        "    print(error, 'tensorflow' in sys.modules)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "require_gpu is true, but this machine shows no GPU" in finished.stdout
    assert "it has CPU, " in finished.stdout
    assert finished.stdout.endswith("or set require_gpu=false. False\n")


def test_a_machine_that_shows_a_gpu_passes_the_first_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "GPU_FILES", (str(tmp_path),))
    devices.refuse_without_gpu_files()


def test_a_gpu_that_tensorflow_does_not_see_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    if has_gpu():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(
        DeviceError, match=r"tensorflow 2\.\S+ sees no GPU, only CPU, \d+ cores, .+ \(CUDA_VISIBLE_DEVICES is '7'\)"
    ):
        devices.find_device(require_gpu=True)


def test_the_device_is_named_for_a_person() -> None:
    device = devices.find_device(require_gpu=False)
    assert device.name.startswith("GPU, " if has_gpu() else "CPU, ")
    assert device.is_gpu == has_gpu()


def test_versions_name_what_made_a_model() -> None:
    versions = devices.library_versions()
    assert versions["python"] == platform.python_version()
    assert versions["backend"] == "tensorflow"
    assert {"keras", "tensorflow", "numpy", "onnx", "onnxruntime", "tf2onnx"} <= versions.keys()
    assert versions["tensorflow"] == importlib.metadata.version("tensorflow")
