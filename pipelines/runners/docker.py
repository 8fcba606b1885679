"""Run a pipeline on this machine, each step in a container of the Docker Engine or Podman.

A container has a read-only root file system and a /tmp in memory. It has access to its step's input artifacts,
read-only, and to the folder of its outputs. It has a network only to download, a GPU only to train, no capabilities,
the user's id, and a limit of memory.
"""

import dataclasses
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import json_format
from kfp.dsl import base_component

from components import TRAINER_IMAGE
from components.mnist.errors import ERROR_FILE
from components.mnist.progress import PROGRESS
from components.mnist.settings import Value
from pipelines import container_images, training
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError
from pipelines.runners.access import MEMORY, bind_mount, find_access, memory_bytes
from pipelines.runners.engine import Engine, open_engine
from pipelines.runners.engine_connection import EngineError
from pipelines.runners.orchestration import Task, follow, run_tasks
from pipelines.steps import STEPS, read_step_name

MAKE = "make images"
REVISION = "org.opencontainers.image.revision"
KILLED = 128 + signal.SIGKILL


def placement() -> training.Placement:
    """Return the placement with the images of this code, by the tags of `make images`."""
    return training.Placement(
        images={step.image: container_images.local_reference(step.image) for step in STEPS.values()}
    )


def run(
    pipeline: base_component.BaseComponent, arguments: Mapping[str, Value], *, run: RunFolder, display: Display
) -> None:
    """Run the pipeline container by container and wait for its end.

    Raises:
        EngineError: There is no engine, no image, or no GPU although one is required, before any step has run; or the
            engine disappeared later.
        StepError: The first step that fails; later steps do not run.
    """
    steps, require_gpu = _read_plan(pipeline, arguments)
    memory = {step: memory_bytes(step) for step in steps}
    with open_engine() as engine:
        for image in sorted(set(steps.values())):
            require_image(engine, image)
        has_gpu = dict.fromkeys(steps, False)
        for name in steps:
            if name in STEPS and STEPS[name].trains:
                steps[name], has_gpu[name] = choose_trainer(engine, steps[name], require_gpu=require_gpu)

        def start(task: Task, display: Display) -> int:
            name = task.name
            task = dataclasses.replace(task, image=steps[name])
            return _run_step(engine, task, display, folder=run.folder, memory=memory[name], gpu=has_gpu[name])

        run_tasks(pipeline, arguments, run=run, display=display, start=start)


def require_image(engine: Engine, reference: str, *, make: str = MAKE) -> None:
    """Check that an image exists and, if it is one of this project, that it was built from this code.

    Args:
        make: The command that builds it, for messages.

    Raises:
        EngineError: The image is missing, or was built from other code.
    """
    labels = engine.find_image(reference)
    if labels is None:
        raise EngineError(f"{reference}: no such image, and none is ever pulled. Build it: {make}")
    if reference.rpartition(":")[0] not in container_images.IMAGES or REVISION not in labels:
        return  # the user's own image
    if labels[REVISION] != (tag := container_images.tag()):
        raise EngineError(
            f"{reference}: built from the code {labels[REVISION]}, but this code is {tag}. Build it again: {make}"
        )


def choose_trainer(engine: Engine, image: str, *, require_gpu: bool) -> tuple[str, bool]:
    """Choose the trainer with CUDA if the engine has a GPU.

    Args:
        image: The trainer for the CPU.

    Returns:
        The image for training, and whether its container gets the engine's NVIDIA GPUs.

    Raises:
        EngineError: A GPU is required, but the engine gives none, or the image with CUDA is missing.
    """
    if not (require_gpu or engine.hints_at_gpu):
        return image, False
    if problem := engine.try_gpu(image):
        if require_gpu:
            raise EngineError(
                f"require_gpu is true, but a container gets no GPU. {problem} Install the NVIDIA Container Toolkit, "
                "or set require_gpu=false."
            )
        return image, False
    name, _, tag = image.rpartition(":")
    cuda = f"{container_images.TRAINER_GPU_IMAGE}:{tag}" if name == TRAINER_IMAGE else image
    if not require_gpu and engine.find_image(cuda) is None:
        return image, False
    require_image(engine, cuda, make=f"{MAKE} GPU=1")
    return cuda, True


def _read_plan(pipeline: base_component.BaseComponent, arguments: Mapping[str, Value]) -> tuple[dict[str, str], bool]:
    """Read the image of each step, and whether a GPU is required: an argument or, for a single step, a constant."""
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    steps = {}
    for executor in spec["deploymentSpec"]["executors"].values():
        if container := executor.get("container"):  # an importer has none
            words = container["args"]
            steps[read_step_name(words)] = container["image"]
    inputs = [task.get("inputs", {}).get("parameters", {}) for task in spec["root"]["dag"]["tasks"].values()]
    constants = [values.get("require_gpu", {}).get("runtimeValue", {}).get("constant") for values in inputs]
    return steps, bool(arguments.get("require_gpu")) or True in constants


def _run_step(engine: Engine, task: Task, display: Display, *, folder: Path, memory: int, gpu: bool) -> int:
    access = find_access(task)
    if access.source is not None:
        task = task.with_source(access.source)
    outputs = task.record_file().parent
    outputs.mkdir(parents=True, exist_ok=True)  # the engine would create it as root, or refuse
    # For large files such as downloads: on the disk of the results, or the one that the user chose.
    disk = Path(os.environ.get("TMPDIR") or folder).absolute()
    network = "with a network" if access.network else "no network"
    facts = [task.image, f"memory up to {_format_size(memory)}", network, *(["with the GPU"] if gpu else [])]
    with (
        tempfile.TemporaryDirectory(prefix="scratch-", dir=disk, ignore_cleanup_errors=True) as scratch,
        task.log.open("a", encoding="utf-8") as log,
    ):
        follow([f"container: {', '.join(facts)}\n"], log, display)
        error_file = Path(scratch, "error.json")
        variables = {"HOME": "/tmp", "TMPDIR": scratch, ERROR_FILE: str(error_file), PROGRESS: "1"}
        try:
            ended = engine.run(
                task.image,
                task.command,
                name=f"mnist-{task.name}",
                memory_bytes=memory,
                folder=access.folder,
                environment={**access.environment, **task.variables, **variables},
                mounts=[*access.mounts, *(bind_mount(path, read_only=False) for path in (outputs, Path(scratch)))],
                network=access.network,
                gpu=gpu,
                follow=lambda lines: follow(lines, log, display),
            )
        finally:
            if error_file.is_file():
                shutil.move(error_file, task.error_file)
    if (ended.out_of_memory or ended.code == KILLED) and not task.error_file.is_file():
        # Podman before version 5 does not always report why a container was killed.
        cause = "because it needed" if ended.out_of_memory else "from outside, most often because it needed"
        raise StepError(
            task.name,
            f"killed {cause} more than its {_format_size(memory)} of memory. Give it more by the "
            f"environment variable: {MEMORY}={_format_size(2 * memory)}",
            log=task.log,
        )
    return ended.code


def _format_size(size_bytes: int) -> str:
    """Format a size for MNIST_MEMORY: 4g, 512m."""
    return f"{size_bytes // 2**30}g" if size_bytes % 2**30 == 0 else f"{size_bytes / 2**20:.0f}m"
