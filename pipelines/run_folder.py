"""A run's folder: where everything of one run lies, and what can be read from it afterwards.

runs/2026-11-22T17-20-31Z/
  run.json         what was run, how it ended, seconds by step
  report.html      the report, summary.md and figures/ beside it
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

from components.mnist.errors import OutputError
from pipelines.steps import STEPS

REPORT = "report.html"


class StepError(Exception):
    """A step did not succeed.

    Attributes:
        step: Its name.
        message: The library's own line, or what is known without it.
        details: The traceback, where there is one.
        log: The step's log.
    """

    def __init__(self, step: str, message: str, details: str, log: Path) -> None:
        super().__init__(f"{step}: {message}")
        self.step = step
        self.message = message
        self.details = details
        self.log = log


class RunFolder:
    """One run's folder, made when the run starts.

    Args:
        root: The folder of all runs.
        title: Put behind the time, to tell runs of one step from runs of the pipeline; may be empty.
    """

    def __init__(self, root: Path, *, title: str) -> None:
        started = datetime.now(UTC)
        name = f"{started:%Y-%m-%dT%H-%M-%SZ}" + (f"-{title}" if title else "")
        self.folder = _make_new(root, name)
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.steps = self.folder / "steps"
        self.record: dict[str, object] = {"started": f"{started:%Y-%m-%dT%H:%M:%SZ}"}

    def save(self, **facts: object) -> None:
        """Add facts to run.json; it is replaced as a whole, so a reader never sees half of it."""
        self.record.update(facts)
        partial = self.folder / "run.json.partial"
        partial.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.folder / "run.json")

    def link_as_latest(self) -> None:
        """Point `latest`, beside this folder, to this run."""
        link = self.folder.parent / "latest"
        partial = self.folder.parent / f".latest-{os.getpid()}"
        partial.unlink(missing_ok=True)
        partial.symlink_to(self.folder.name)
        if link.is_dir() and not link.is_symlink():
            partial.unlink()  # a folder that somebody made: it is theirs
            return
        partial.replace(link)

    def collect_report(self) -> Path | None:
        """Copy what people open first to the top of the folder; returns the report, None where there is none."""
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
        """A JSON file of an artifact of a finished step."""
        return json.loads((self.steps / step / artifact / file).read_text(encoding="utf-8"))


def _make_new(root: Path, name: str) -> Path:
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            folder = root / next(names)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise OutputError(
            f"{root}: no run can be kept there ({error.strerror}). Name a folder: --runs FOLDER."
        ) from error
