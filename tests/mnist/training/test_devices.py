"""Which device trains, in which precision, and what is said when the one that is required is not there."""

import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.mnist.errors import DeviceError
from components.mnist.training import devices
from components.mnist.training.devices import Device, choose_precision

PLAIN = Device("CPU, 2 cores, plain", is_gpu=False, has_bfloat16=False)
MADE_FOR_IT = Device("GPU, NVIDIA L4", is_gpu=True, has_bfloat16=True)


def has_gpu() -> bool:
    devices.quieten()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@pytest.mark.parametrize(
    ("wanted", "device", "precision"),
    [
        ("auto", PLAIN, "float32"),
        ("auto", MADE_FOR_IT, "bfloat16"),
        ("float32", MADE_FOR_IT, "float32"),
        ("bfloat16", PLAIN, "bfloat16"),
    ],
)
def test_auto_takes_bfloat16_where_the_device_is_made_for_it(wanted: str, device: Device, precision: str) -> None:
    assert choose_precision(wanted, device) == precision


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems show GPUs in other ways")
def test_without_a_gpu_a_required_one_is_missed_at_once(tmp_path: Path) -> None:
    program = (
        "from components.mnist import devices\n"
        f"devices.GPU_FILES = ({str(tmp_path / 'nvidia')!r},)\n"
        "devices.refuse_without_gpu_files()\n"
    )
    started = time.monotonic()
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert time.monotonic() - started < 3
    assert finished.returncode == 1
    assert "require_gpu is true, but this machine shows no GPU" in finished.stderr
    assert "it has CPU, " in finished.stderr
    assert "set require_gpu=false" in finished.stderr


def test_a_machine_that_shows_a_gpu_is_asked_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "GPU_FILES", (str(tmp_path),))
    devices.refuse_without_gpu_files()


def test_a_gpu_that_the_backend_does_not_see_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert all(versions.values())
