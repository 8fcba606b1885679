"""Look at this machine: what a run on it needs, and what every other place needs of it."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from components.mnist.errors import SettingError
from components.mnist.training.devices import GPU_FILES
from pipelines import configuration, container_images
from pipelines.checks import Check, Finding, fail, ok, skip, warn
from pipelines.doctor import data, packages

PYTHON = (3, 11)
RUN_BYTES = 60_000_000  # a run on MNIST leaves 56 MB, nearly all of it the split data
ROOM_BYTES = 1_000_000_000  # below which a person wants to know
ANSWER_SECONDS = 10


def for_runs_here(profiles: Path) -> list[Check]:
    """What a run on this machine needs."""
    return [
        *_basics(("train", "cli")),
        Check("disk", lambda: check_disk(Path("runs"))),
        Check("semaphores", check_semaphores),
        Check("data", data.check_data),
        Check("GPU", check_gpu),
        Check("profiles", lambda: check_profiles(profiles)),
    ]


def for_containers() -> list[Check]:
    """What a run in containers needs outside of them."""
    return [*_basics(("cli",)), Check("disk", lambda: check_disk(Path("runs"))), Check("data", data.check_data)]


def for_platforms() -> list[Check]:
    """What a run elsewhere needs of the machine that starts it."""
    return _basics(("cli",))


def _basics(extras: tuple[str, ...]) -> list[Check]:
    return [
        Check("Python", lambda: check_python(sys.version_info[:3])),
        Check("packages", lambda: packages.check_packages(extras)),
        Check("git", check_git),
    ]


def check_python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    found, least = (".".join(map(str, part)) for part in (version, PYTHON))
    if version < PYTHON:
        return fail(
            f"{found}, but {least} or newer is needed.", "Make the environment with another: make install PYTHON=..."
        )
    return ok(f"{found}, in {sys.prefix}")


def check_git() -> Finding:
    """Whether git is there to tell which state of the code this is; runs and images are named by it."""
    if shutil.which("git") is None:
        return warn(
            "not installed, so runs do not record their commit and images cannot be named.",
            "Install it: sudo apt-get install git",
        )
    if not (container_images.ROOT / ".git").exists():
        return ok(f"installed; this code is no git checkout, its state is called {container_images.tag()}")
    tag = container_images.tag()
    return ok(f"this code is {tag}" + (", with changes that are in no commit" if "-dirty-" in tag else ""))


def check_disk(runs: Path) -> Finding:
    """Whether a run has room, and may be kept."""
    folder = next(parent for parent in (runs.absolute(), *runs.absolute().parents) if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return fail(f"{folder} may not be written to by this user.", "Name a folder for runs: mnist run --runs FOLDER")
    places = {"runs": folder, "temporary files": Path(tempfile.gettempdir())}
    free = {f"{place} ({path})": shutil.disk_usage(path).free for place, path in places.items()}
    place, least = min(free.items(), key=lambda entry: entry[1])
    found = f"{least / 1e9:,.1f} GB free for {place}; a run on MNIST takes {RUN_BYTES / 1e6:.0f} MB"
    if least < RUN_BYTES:
        return fail(f"{found}.", "Make room, or choose another disk: TMPDIR=... mnist run --runs FOLDER")
    if least < ROOM_BYTES:
        return warn(f"{found}.", "Old runs can go: rm -r runs/...")
    return ok(found)


def check_semaphores() -> Finding:
    """Whether semaphores can be made, which Keras' threads need: on Linux they live in /dev/shm."""
    methods = multiprocessing.get_all_start_methods()
    try:
        # It has no name that outlives this line.
        multiprocessing.get_context("fork" if "fork" in methods else None).Semaphore()
    except OSError as error:
        return fail(
            f"none can be made in /dev/shm ({error.strerror}), so training would fail.",
            "Mount it writable: sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm; a container gets it by --shm-size=64m",
        )
    return ok("can be made (/dev/shm), as training needs")


def check_gpu() -> Finding:
    """Whether an NVIDIA GPU of this machine can be trained on; having none is no trouble."""
    if shutil.which("nvidia-smi") is None:
        if any(Path(file).exists() for file in GPU_FILES):
            return skip("the kernel shows a GPU, but there is no nvidia-smi to ask; training tries it, else the CPU.")
        return ok(f"none; training uses the CPU ({os.cpu_count()} cores)")
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return warn(f"nvidia-smi does not answer ({type(error).__name__}); training uses the CPU.", _mend_driver())
    gpus = [line.split(", ") for line in asked.stdout.splitlines() if line.count(", ") == 2]
    if asked.returncode or not gpus:
        words = " ".join((asked.stdout or asked.stderr).split()).rstrip(".") or f"exit code {asked.returncode}"
        return warn(f"nvidia-smi finds none: {words}; training uses the CPU.", _mend_driver())
    found = "; ".join(f"{name}, {memory}" for name, _, memory in gpus) + f", driver {gpus[0][1]}"
    if missing := packages.find_missing(("gpu",)):
        return warn(
            f"{found}, but NVIDIA's libraries are not installed ({missing[0]} ...); training uses the CPU.",
            "Install them: make --always-make install GPU=1",
        )
    return ok(found)


def _mend_driver() -> str:
    return "Mend the driver: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"


def check_profiles(file: Path) -> Finding:
    """Whether every profile can be read."""
    if not file.exists():
        return ok(f"{file} is not there; only Kubeflow and Vertex AI need it: cp {configuration.EXAMPLE} {file}")
    names = configuration.read_names(file)
    troubles = []
    for name in names:
        try:
            configuration.read_profile(name, file)
        except SettingError as error:
            troubles.append(str(error))
    if troubles:
        raise SettingError(troubles[0] + (f" There is trouble in {len(troubles)} profiles." if troubles[1:] else ""))
    return ok(f"{file} has {', '.join(names) or 'none yet'}; look at one: mnist doctor --on PROFILE")
