"""The training device, and everything that is specific to TensorFlow.

The rest of the library uses only Keras. No function here imports Keras or TensorFlow before it is called.
"""

import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from components.mnist.errors import DeviceError

# On Linux, a GPU has one of these files: with NVIDIA's driver, and in Windows' WSL.
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")


@dataclass(frozen=True)
class Device:
    """The training device.

    Attributes:
        name: For people: "CPU, 2 cores, Intel(R) Xeon(R) Processor" or "GPU, NVIDIA L4".
        is_gpu: Whether it is a GPU.
        has_bfloat16: Whether the hardware supports bfloat16; elsewhere it is emulated, and slower than float32.
    """

    name: str
    is_gpu: bool
    has_bfloat16: bool


def refuse_without_gpu_files() -> None:
    """Fail at once on a Linux machine without a GPU, before TensorFlow's import, which takes seconds.

    Raises:
        DeviceError: No GPU file exists.
    """
    if platform.system() == "Linux" and not any(Path(file).exists() for file in GPU_FILES):
        raise DeviceError(
            f"require_gpu is true, but this machine shows no GPU (none of {', '.join(GPU_FILES)}); it has "
            f"{_describe_cpu()}. Give it a GPU (in a container: `--gpus all`), or set require_gpu=false."
        )


def prepare_keras() -> None:
    """Select TensorFlow and silence its start-up messages; call it before importing Keras.

    Warnings and errors are still logged.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # overrides the user's keras.json
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # 1: no INFO
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)


def find_device(*, require_gpu: bool) -> Device:
    """Return the device that TensorFlow uses: its first GPU, else the CPU.

    Raises:
        DeviceError: A GPU is required and TensorFlow sees none.
    """
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpus[0])
        return Device(
            f"GPU, {details.get('device_name', gpus[0].name)}",
            is_gpu=True,
            has_bfloat16=(details.get("compute_capability") or (0, 0)) >= (8, 0),  # from Ampere on
        )
    if require_gpu:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise DeviceError(
            f"require_gpu is true, but tensorflow {tf.__version__} sees no GPU, only {_describe_cpu()}"
            + (f" (CUDA_VISIBLE_DEVICES is {hidden!r})" if hidden is not None else "")
            + ". Install the CUDA libraries (the extra `gpu`) and a driver that fits, or set require_gpu=false."
        )
    flags = _read_cpuinfo("flags").split()
    return Device(_describe_cpu(), is_gpu=False, has_bfloat16="avx512_bf16" in flags or "amx_bf16" in flags)


def choose_precision(precision: str, device: Device) -> str:
    """Resolve `auto` for this device: "float32" or "bfloat16"."""
    if precision == "auto":
        return "bfloat16" if device.has_bfloat16 else "float32"
    return precision


def make_repeatable(seed: int) -> None:
    """Seed all random generators and enable deterministic operations."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    # Floating-point sums depend on the order in which threads finish: without this, two runs diverge from the first
    # steps on.
    tf.config.experimental.enable_op_determinism()


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a model depends on, and the name of Keras' backend."""
    import keras
    import numpy
    import onnx
    import onnxruntime
    import tensorflow
    import tf2onnx

    libraries = (keras, tensorflow, numpy, onnx, onnxruntime, tf2onnx)
    versions = {library.__name__: library.__version__ for library in libraries}
    return {"python": platform.python_version(), "backend": keras.backend.backend(), **versions}


def _describe_cpu() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = _read_cpuinfo("model name") or platform.processor() or platform.machine()
    return f"CPU, {cores} cores, {model}"


def _read_cpuinfo(field: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo; empty if it is missing."""
    file = Path("/proc/cpuinfo")
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
