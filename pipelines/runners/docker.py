"""Run a pipeline on this machine: each step in its container, by the Docker Engine or Podman.

A container has a read-only root file system and a /tmp in memory. It sees the artifacts that its step takes, read-only,
and the folder of those that the step gives. It has a network only to download, a GPU only to train, no capabilities,
the user who runs this, and a limit of memory.
"""

import dataclasses
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format
from kfp.dsl import base_component

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.mnist.errors import ERROR_FILE
from components.mnist.progress import PROGRESS
from components.mnist.settings import Value
from pipelines import container_images, training
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError
from pipelines.runners import grants
from pipelines.runners.engine import Bind, Ended, Engine, Request, open_engine
from pipelines.runners.engine_connection import EngineError
from pipelines.runners.orchestration import Task, follow, run_tasks

TRAIN = "train"
MAKE = "make images"
REVISION = "org.opencontainers.image.revision"
TMP_BYTES = 512 * 2**20
KILLED = 128 + signal.SIGKILL


def placement() -> training.Placement:
    """The pipeline for here takes the images of this code by their tags, as `make images` leaves them."""
    return training.Placement(
        images={image: container_images.local_reference(image) for image in (STEPS_IMAGE, TRAINER_IMAGE)}
    )


def run(
    pipeline: base_component.BaseComponent, arguments: Mapping[str, Value], *, run: RunFolder, display: Display
) -> None:
    """Run the pipeline container by container and wait for its end.

    Raises:
        EngineError: No engine, no image, or no GPU where one is required; no step has run then, unless the engine
            goes away later.
        StepError: The first step that fails; later steps do not run.
    """
    steps, require_gpu = _read_plan(pipeline, arguments)
    memory = {step: grants.memory_bytes(step) for step in steps}
    with open_engine() as engine:
        for image in sorted(set(steps.values())):
            require_image(engine, image)
        trainer = choose_trainer(engine, steps[TRAIN], require_gpu=require_gpu) if TRAIN in steps else None

        def start(task: Task, display: Display) -> int:
            if task.name == TRAIN and trainer:
                task = dataclasses.replace(task, image=trainer.image)
            gpu = task.name == TRAIN and trainer is not None and trainer.has_gpu
            return _run_step(engine, task, display, folder=run.folder, memory_bytes=memory[task.name], gpu=gpu)

        run_tasks(pipeline, arguments, run=run, display=display, start=start)


def require_image(engine: Engine, reference: str, *, make: str = MAKE) -> None:
    """Make sure that an image is there and, when it is one of this project, that it holds this code.

    Raises:
        EngineError: It is missing, or built from another commit.
    """
    labels = engine.find_image(reference)
    name = reference.rpartition(":")[0]
    if labels is None:
        others = engine.list_tags(name) if name else []
        more = f" and {len(others) - 2} more" if len(others) > 2 else ""
        only = f" There are images of other states of the code: {', '.join(others[:2])}{more}." if others else ""
        raise EngineError(f"{reference}: no such image, and none is ever pulled.{only} Build it: {make}")
    if name not in container_images.IMAGES or REVISION not in labels:
        return  # an image of one's own
    expected = container_images.revision() if (container_images.ROOT / ".git").exists() else container_images.tag()
    if labels[REVISION] != expected:
        raise EngineError(
            f"{reference}: built from commit {labels[REVISION][:12]}, but this code is {expected[:12]}. "
            f"Build it again: {make}"
        )


@dataclass(frozen=True)
class Trainer:
    """The image that trains, and whether its container gets the engine's NVIDIA GPUs."""

    image: str
    has_gpu: bool


def choose_trainer(engine: Engine, image: str, *, require_gpu: bool) -> Trainer:
    """Take the trainer with CUDA where the engine has a GPU.

    Args:
        image: The trainer for the CPU.

    Raises:
        EngineError: A GPU is required, but the engine gives none, or the image with CUDA is missing.
    """
    if not (require_gpu or engine.hints_at_gpu):
        return Trainer(image, has_gpu=False)
    trouble = engine.try_gpu(image)
    if trouble and require_gpu:
        raise EngineError(
            f"require_gpu is true, but a container gets no GPU. {trouble} Install the NVIDIA Container Toolkit, "
            "or set require_gpu=false."
        )
    if trouble:
        return Trainer(image, has_gpu=False)
    name, _, tag = image.rpartition(":")
    cuda = f"{container_images.TRAINER_GPU_IMAGE}:{tag}" if name == TRAINER_IMAGE else image
    if require_gpu or engine.find_image(cuda) is not None:
        require_image(engine, cuda, make=f"{MAKE} GPU=1")
        return Trainer(cuda, has_gpu=True)
    return Trainer(image, has_gpu=False)


def _read_plan(pipeline: base_component.BaseComponent, arguments: Mapping[str, Value]) -> tuple[dict[str, str], bool]:
    """The image of each step, and whether a GPU is required: as an argument or, for a step alone, a constant."""
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    containers = [
        executor["container"] for executor in spec["deploymentSpec"]["executors"].values() if "container" in executor
    ]
    steps = {
        container["args"][container["args"].index("--function_to_execute") + 1]: container["image"]
        for container in containers
    }
    inputs = [task.get("inputs", {}).get("parameters", {}) for task in spec["root"]["dag"]["tasks"].values()]
    constants = [values.get("require_gpu", {}).get("runtimeValue", {}).get("constant") for values in inputs]
    return steps, bool(arguments.get("require_gpu")) or True in constants


def _run_step(engine: Engine, task: Task, display: Display, *, folder: Path, memory_bytes: int, gpu: bool) -> int:
    grant = grants.find_grant(task)
    own = task.record_file().parent
    own.mkdir(parents=True, exist_ok=True)  # the engine would make it as root, or refuse
    # For what is too large for memory, such as downloads: on the disk that takes the results, or that the user chose.
    disk = Path(os.environ.get("TMPDIR") or folder).absolute()
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=disk, ignore_cleanup_errors=True) as scratch:
        error_file = Path(scratch, "error.json")
        request = Request(
            name=f"mnist-{task.name}",
            image=task.image,
            command=_with_source(task.command, grant.source),
            folder=grant.folder,
            environment={
                **grant.environment,
                **task.variables,
                "HOME": "/tmp",
                "TMPDIR": scratch,
                ERROR_FILE: str(error_file),
                PROGRESS: "1",
            },
            binds=(*grant.binds, *(Bind(path, str(path), read_only=False) for path in (own, Path(scratch)))),
            memory_bytes=memory_bytes,
            tmp_bytes=TMP_BYTES,
            network=grant.network,
            gpu=gpu,
        )
        try:
            ended = _run_container(engine, request, task, display)
        finally:
            if error_file.is_file():
                shutil.move(error_file, task.error_file)
    if (ended.out_of_memory or ended.code == KILLED) and not task.error_file.is_file():
        raise StepError(task.name, _explain_end(ended, memory_bytes), "", task.log)
    return ended.code


def _run_container(engine: Engine, request: Request, task: Task, display: Display) -> Ended:
    facts = [request.image, f"memory up to {_spell(request.memory_bytes)}"]
    facts += ["with a network" if request.network else "no network", *(["with the GPU"] if request.gpu else [])]
    with task.log.open("a", encoding="utf-8") as log:
        follow([f"container: {', '.join(facts)}\n"], log, display)
        with engine.run(request) as container:
            follow(container.lines(), log, display)
            return container.wait()


def _with_source(command: list[str], source: str | None) -> list[str]:
    """Put the source as the container knows it into KFP's command."""
    if source is None:
        return command
    place = command.index("--executor_input") + 1
    executor_input = json.loads(command[place])
    executor_input["inputs"]["parameterValues"]["source"] = source
    return [*command[:place], json.dumps(executor_input), *command[place + 1 :]]


def _explain_end(ended: Ended, limit_bytes: int) -> str:
    twice = _spell(2 * limit_bytes).replace(" GiB", "g").replace(" MiB", "m")
    # Podman before version 5 does not tell on every machine what killed a container.
    cause = "because it needed" if ended.out_of_memory else "from outside, most often because it needed"
    return (
        f"killed {cause} more than its {_spell(limit_bytes)} of memory. Let it have more by a variable of the "
        f"environment: {grants.MEMORY}={twice}"
    )


def _spell(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:g} GiB" if size_bytes % 2**30 == 0 else f"{size_bytes / 2**20:.0f} MiB"
