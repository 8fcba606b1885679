"""This project as somebody has it who cloned it and pushed its images: a clean commit with its lock of images."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from components import STEPS_IMAGE, TRAINER_IMAGE
from pipelines.container_images import LOCK_FILE, ROOT, TRAINER_GPU_IMAGE

# Waits are for platforms far away; here they would only make tests long.
QUICKLY = (
    "from pipelines.platforms import remote_runs, retrying; remote_runs.POLL_SECONDS = {poll}; "
    "retrying.FIRST_WAIT_SECONDS = 0.01; retrying.LOOK_SECONDS = (0.0, 0.1); from pipelines.cli import main; main()"
)


def copy_tracked_files(folder: Path) -> None:
    """Copy the files of this project that git has, or would have, as they are now."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


class Project:
    """A clone in a folder; the command runs its code, not that of the tests.

    Args:
        folder: Empty; the files that git would have are copied there and committed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_tracked_files(folder)
        self._git("init", "--quiet")
        self._git("add", "--all")
        self._git("-c", "user.name=Tester", "-c", "user.email=tester@example.com", "commit", "--quiet", "-m", "Start")
        pairs = [
            f"{image}=registry.example.com/team/{image}@sha256:{digit * 64}"
            for image, digit in ((STEPS_IMAGE, "a"), (TRAINER_IMAGE, "b"), (TRAINER_GPU_IMAGE, "c"))
        ]
        subprocess.run([sys.executable, "-m", "pipelines.container_images", "lock", *pairs], cwd=folder, check=True)
        assert (folder / LOCK_FILE).is_file()

    def start(
        self, *words: str, folder: Path, environment: Mapping[str, str], poll_seconds: float = 0.05
    ) -> subprocess.Popen[str]:
        """Start the command in a folder, with the profiles of its mnist.toml."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        code = QUICKLY.format(poll=poll_seconds)
        return subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.argv[0] = 'mnist'; {code}", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**variables, "PYTHONPATH": str(self.folder), "COLUMNS": "120", **environment},
        )

    def run(self, *words: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder to its end."""
        process = self.start(*words, folder=folder, environment=environment)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def _git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.folder), *words], check=True)
