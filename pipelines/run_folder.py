"""A run's folder: the files of one run on this machine.

runs/2026-11-22T17-20-31Z/
  run.json         parameters, final state, seconds by step
  report.html      the report, with summary.md and figures/ beside it
  steps/           every artifact: steps/<step>/<output>
  logs/            one log per step, pipeline.log for KFP itself
runs/latest        the newest run of the whole pipeline
"""

import contextlib
import itertools
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.mnist import files
from components.mnist.errors import OutputError
from pipelines.steps import STEPS

REPORT = "report.html"


class StepError(Exception):
    """A step failed.

    Attributes:
        step: The name of the step.
        message: The library's message or, without one, a description of the exit code.
        log: The step's log.
        details: The traceback, if there is one.
    """

    def __init__(self, step: str, message: str, *, log: Path, details: str = "") -> None:
        super().__init__(f"{step}: {message}")
        self.step = step
        self.message = message
        self.log = log
        self.details = details


class RunFolder:
    """One run's folder, created when the run starts.

    Args:
        root: The folder of all runs.
        title: The suffix of the folder's name after the time: the step's name for a single step; may be empty.
    """

    def __init__(self, root: Path, *, title: str) -> None:
        started = datetime.now(UTC)
        name = f"{started:%Y-%m-%dT%H-%M-%SZ}" + (f"-{title}" if title else "")
        try:
            root.mkdir(parents=True, exist_ok=True)
            for number in itertools.count(1):  # two runs may start within a second
                self.folder = root / (name if number == 1 else f"{name}-{number}")
                with contextlib.suppress(FileExistsError):
                    self.folder.mkdir()
                    break
        except OSError as error:
            raise OutputError(
                f"{root}: runs cannot be stored there ({error.strerror}). Name another folder: --runs FOLDER."
            ) from error
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.steps = self.folder / "steps"
        self.record: dict[str, object] = {"started": f"{started:%Y-%m-%dT%H:%M:%SZ}"}

    def save(self, **facts: object) -> None:
        """Add facts to run.json."""
        self.record.update(facts)
        files.write_text(self.folder / "run.json", json.dumps(self.record, indent=2) + "\n")

    def link_as_latest(self) -> None:
        """Point `latest`, beside this folder, to this run."""
        link = self.folder.parent / "latest"
        if link.is_dir() and not link.is_symlink():
            return  # the user's own folder
        # Replaced atomically: `latest` exists at every moment.
        new = self.folder.parent / f".latest-{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(self.folder.name)
        new.replace(link)

    def collect_report(self) -> Path | None:
        """Copy the report and its files to the top of the folder; return the report, or None if there is none."""
        for step in STEPS.values():
            for output, name in step.shown.items():
                source = self.steps / step.name / output
                if source.is_dir():
                    shutil.copytree(source, self.folder / name, dirs_exist_ok=True)
                elif source.is_file():
                    shutil.copyfile(source, self.folder / name)
        report = self.folder / REPORT
        return report if report.is_file() else None

    def read_json(self, step: str, artifact: str, file: str) -> dict[str, Any]:
        """Read a JSON file of an artifact of a finished step."""
        return json.loads((self.steps / step / artifact / file).read_text(encoding="utf-8"))
