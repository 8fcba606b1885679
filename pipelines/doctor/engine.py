"""Check the requirements of runs in containers: an engine, disk space, the images of this code, a GPU."""

import shutil
from pathlib import Path

from components import TRAINER_IMAGE
from pipelines import container_images
from pipelines.checks import Check, Finding, fail, ok, skip, warn
from pipelines.runners.docker import MAKE, require_image
from pipelines.runners.engine import open_engine
from pipelines.steps import STEPS

IMAGES = sorted({step.image for step in STEPS.values()})

IMAGES_BYTES = 3_000_000_000  # both images for the CPU are 2.2 GB with all their layers
ENOUGH_BYTES = 1_000_000_000
SEE_DISK = "See its use: docker system df; remove unused data: docker system prune"
TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"


def for_containers() -> list[Check]:
    """List the checks of a run in containers; each connects anew, since the engine may stop between two."""
    return [
        Check("engine", check_engine),
        Check("engine's disk", check_disk, needs=("engine",)),
        Check("images", check_images, needs=("engine",)),
        Check("GPU in containers", check_gpu, needs=("images",), seconds=60),  # it starts a container
    ]


def check_engine() -> Finding:
    """Whether an engine answers, and which one."""
    with open_engine() as engine, engine.errors_explained():
        version = engine.client.version()
        name = "Podman" if "Podman" in str(version.get("Components")) else "Docker Engine"
        return ok(f"{name} {version.get('Version')}, API {version.get('ApiVersion')}, at {engine.address}")


def check_disk() -> Finding:
    """Whether the engine's disk has space for images."""
    with open_engine() as engine, engine.errors_explained():
        folder = Path(engine.client.info().get("DockerRootDir") or "/nonexistent")
        is_built = all(engine.find_image(container_images.local_reference(name)) for name in IMAGES)
        # Docker Desktop's engine listens here, but has its own disk.
        if not engine.is_local or not folder.is_dir():
            return skip("the engine's disk is not on this machine; to see it: docker system df")
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:,.1f} GB free in {folder}"
    if not is_built and free < IMAGES_BYTES:
        return fail(f"{found}; building the images takes {IMAGES_BYTES / 1e9:.0f} GB.", SEE_DISK)
    return ok(found) if free >= ENOUGH_BYTES else warn(f"{found}.", SEE_DISK)


def check_images() -> Finding:
    """Whether the images of this code are built."""
    with open_engine() as engine:
        for name in IMAGES:
            require_image(engine, container_images.local_reference(name))
    return ok(f"{' and '.join(IMAGES)} of this code ({container_images.tag()}) are built")


def check_gpu() -> Finding:
    """Whether a container can use a GPU; having none is fine. Starts a container and removes it."""
    with open_engine() as engine:
        if not engine.hints_at_gpu:
            return ok("none; containers train on the CPU")
        if problem := engine.try_gpu(container_images.local_reference(TRAINER_IMAGE)):
            return warn(f"{problem} Containers train on the CPU.", f"Install the NVIDIA Container Toolkit: {TOOLKIT}")
        cuda = container_images.local_reference(container_images.TRAINER_GPU_IMAGE)
        if engine.find_image(cuda) is None:
            return warn(
                "available in containers, but the trainer with CUDA is not built, so they train on the CPU.",
                f"Build it: {MAKE} GPU=1",
            )
        require_image(engine, cuda, make=f"{MAKE} GPU=1")
        return ok(f"available in containers, and {cuda} is built")
