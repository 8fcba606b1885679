"""Check this machine's requirements for runs here, in containers and on platforms."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from components.mnist.training.devices import GPU_FILES
from pipelines import configuration, container_images
from pipelines.checks import Check, Finding, fail, ok, skip, warn
from pipelines.doctor import data, packages
from pipelines.names import EXAMPLE

PYTHON = (3, 11)
RUN_BYTES = 60_000_000  # a run on MNIST takes 56 MB, nearly all of it the split data
ROOM_BYTES = 1_000_000_000  # less causes a warning
ANSWER_SECONDS = 10
MEND_DRIVER = "Repair the driver: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"


def for_runs_here(profiles: Path) -> list[Check]:
    """List the checks for a run on this machine."""
    return [
        *for_platforms(("train", "cli")),
        Check("disk", check_disk),
        Check("semaphores", check_semaphores),
        Check("data", data.check_data),
        Check("GPU", check_gpu),
        Check("profiles", lambda: check_profiles(profiles)),
    ]


def for_containers() -> list[Check]:
    """List the checks of this machine for a run in containers."""
    return [*for_platforms(), Check("disk", check_disk), Check("data", data.check_data)]


def for_platforms(extras: tuple[str, ...] = ("cli",)) -> list[Check]:
    """List the checks of this machine for a run on a platform; all other runs need them too."""
    return [
        Check("Python", check_python),
        Check("packages", lambda: packages.check_packages(extras)),
        Check("code", check_code),
    ]


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Whether this Python is new enough."""
    found, least = (".".join(map(str, part)) for part in (version, PYTHON))
    if version < PYTHON:
        return fail(
            f"{found}, but {least} or newer is needed.",
            "Make the environment with a newer one: make install PYTHON=...",
        )
    return ok(f"{found}, in {sys.prefix}")


def check_code() -> Finding:
    """Report the version of this code, which names images and runs, and its commit."""
    name, commit = container_images.tag(), container_images.commit()
    if commit:
        uncommitted = ", with uncommitted changes" if commit.endswith("-dirty") else ""
        return ok(f"{name}, of commit {commit[:12]}{uncommitted}")
    if not (container_images.ROOT / ".git").exists():
        return ok(f"{name}; not a git checkout, so runs record no commit")
    return warn(
        f"{name}; git is missing or cannot read this checkout, so runs record no commit.",
        f"See why: git -C {container_images.ROOT} log -1",
    )


def check_disk(runs: Path = Path("runs")) -> Finding:
    """Whether this user may write runs, and the disk has space for one."""
    folder = next(parent for parent in (runs.absolute(), *runs.absolute().parents) if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return fail(f"this user may not write to {folder}.", "Name another folder: mnist run --runs FOLDER")
    scratch = Path(tempfile.gettempdir())
    least, name = min(
        (shutil.disk_usage(folder).free, f"runs ({folder})"),
        (shutil.disk_usage(scratch).free, f"temporary files ({scratch})"),
    )
    found = f"{least / 1e9:,.1f} GB free for {name}; a run on MNIST takes {RUN_BYTES / 1e6:.0f} MB"
    if least < RUN_BYTES:
        return fail(f"{found}.", "Free some space, or choose another disk: TMPDIR=... mnist run --runs FOLDER")
    if least < ROOM_BYTES:
        return warn(f"{found}.", "Delete old runs: rm -r runs/...")
    return ok(found)


def check_semaphores() -> Finding:
    """Whether semaphores can be created, as Keras' threads need; Linux keeps them in /dev/shm."""
    methods = multiprocessing.get_all_start_methods()
    try:
        # With fork, the semaphore has no name, and nothing is left in /dev/shm.
        multiprocessing.get_context("fork" if "fork" in methods else None).Semaphore()
    except OSError as error:
        return fail(
            f"none can be created in /dev/shm ({error.strerror}), so training would fail.",
            "Mount it writable: sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm; for a container: --shm-size=64m",
        )
    return ok("can be created (/dev/shm), as training needs")


def check_gpu() -> Finding:
    """Whether an NVIDIA GPU of this machine can be used for training; having none is fine."""
    if shutil.which("nvidia-smi") is None:
        if any(Path(file).exists() for file in GPU_FILES):
            return skip("there is a GPU, but no nvidia-smi to query it; training tries it and falls back to the CPU.")
        return ok(f"none; training uses the CPU ({os.cpu_count()} cores)")
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        words = " ".join(str(getattr(error, "output", None) or error).split()).rstrip(".")
        return warn(f"nvidia-smi finds none: {words}; training uses the CPU.", MEND_DRIVER)
    found = "; ".join(asked.stdout.splitlines())
    if missing := [name for name, version in packages.find_needed(("gpu",)).items() if version is None]:
        return warn(
            f"{found}, but NVIDIA's libraries are not installed ({missing[0]} ...); training uses the CPU.",
            "Install them: make --always-make install GPU=1",
        )
    return ok(found)


def check_profiles(file: Path) -> Finding:
    """Whether every profile can be read.

    Raises:
        SettingError: A profile cannot be read.
    """
    if not file.exists():
        return ok(f"there is no {file}; only Kubeflow and Vertex AI need it: cp {EXAMPLE} {file}")
    names = configuration.read_names(file)
    for name in names:
        configuration.read_profile(name, file)
    return ok(f"{file} has {', '.join(names) or 'none yet'}; check one: mnist doctor --on PROFILE")
