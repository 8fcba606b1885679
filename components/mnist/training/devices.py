"""What training computes on, and everything that is particular to one Keras backend.

The rest of the library is written for Keras alone. Nothing here imports Keras or its backend before it is called.
"""

import importlib.metadata
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from components.mnist.errors import DeviceError

# A GPU shows in one of these on Linux: NVIDIA, Windows' WSL, AMD.
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
LIBRARIES = ("keras", "tensorflow", "jax", "torch", "numpy", "onnx", "onnxruntime", "tf2onnx")


@dataclass(frozen=True)
class Device:
    """What training computes on.

    Attributes:
        name: For a person: "CPU, 2 cores, Intel(R) Xeon(R) Processor" or "GPU, NVIDIA L4".
        is_gpu: Whether it is a GPU.
        has_bfloat16: Whether it is made for bfloat16: elsewhere bfloat16 is emulated, and slower than float32.
    """

    name: str
    is_gpu: bool
    has_bfloat16: bool


def refuse_without_gpu_files() -> None:
    """Fail in no time on a Linux machine that has no GPU: asking TensorFlow would take its import first.

    Raises:
        DeviceError: The kernel shows no GPU.
    """
    if platform.system() == "Linux" and not any(Path(file).exists() for file in GPU_FILES):
        raise DeviceError(
            f"require_gpu is true, but this machine shows no GPU (none of {', '.join(GPU_FILES)}); it has "
            f"{_describe_cpu()}. Give it a GPU (in a container: `--gpus all`), or set require_gpu=false."
        )


def quieten() -> None:
    """Keep start-up chatter out of the log; to be called before Keras is imported. Warnings and errors still show."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # 1: no INFO
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)


def find_device(*, require_gpu: bool) -> Device:
    """Ask the Keras backend what it is going to compute on: its first GPU, else the CPU.

    Raises:
        DeviceError: A GPU is required and the backend sees none.
    """
    import keras

    backend = keras.backend.backend()
    gpu = {"tensorflow": _tensorflow_gpu, "jax": _jax_gpu}.get(backend, lambda: None)()
    if gpu is not None:
        return gpu
    if require_gpu:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise DeviceError(
            f"require_gpu is true, but {backend} {_version(backend)} sees no GPU, only {_describe_cpu()}"
            + (f" (CUDA_VISIBLE_DEVICES is {hidden!r})" if hidden is not None else "")
            + ". Install the CUDA libraries (the extra `gpu`) and a driver that fits, or set require_gpu=false."
        )
    flags = _cpuinfo("flags").split()
    return Device(_describe_cpu(), is_gpu=False, has_bfloat16="avx512_bf16" in flags or "amx_bf16" in flags)


def choose_precision(precision: str, device: Device) -> str:
    """Decide what `auto` means on this device: "float32" or "bfloat16"."""
    if precision == "auto":
        return "bfloat16" if device.has_bfloat16 else "float32"
    return precision


def make_repeatable(seed: int) -> None:
    """Start every random generator from the seed and choose operations that always add up in the same order."""
    import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Threads finish in any order, and floating-point sums depend on it: without this, two runs drift apart
        # from the first steps on.
        tf.config.experimental.enable_op_determinism()


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that a model depends on; and which of them is the backend."""
    import keras

    versions = {library: _version(library) for library in LIBRARIES}
    found = {library: version for library, version in versions.items() if version}
    return {"python": platform.python_version(), "backend": keras.backend.backend(), **found}


def _tensorflow_gpu() -> Device | None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = details.get("compute_capability") or (0, 0)
    return Device(f"GPU, {details.get('device_name', gpus[0].name)}", is_gpu=True, has_bfloat16=capability >= (8, 0))


def _jax_gpu() -> Device | None:
    import jax

    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    if not gpus:
        return None
    capability = tuple(int(part) for part in getattr(gpus[0], "compute_capability", "0").split("."))
    return Device(f"GPU, {gpus[0].device_kind}", is_gpu=True, has_bfloat16=capability >= (8, 0))


def _describe_cpu() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"CPU, {cores} cores, {model}"


def _cpuinfo(field: str) -> str:
    """The first processor's field in /proc/cpuinfo; empty where there is none."""
    file = Path("/proc/cpuinfo")
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
