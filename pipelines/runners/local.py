"""Run a pipeline on this machine, each step in a process of this Python."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kfp.dsl import base_component

from components.mnist.errors import ERROR_FILE
from components.mnist.progress import PROGRESS
from components.mnist.settings import Value
from pipelines.display import Display
from pipelines.run_folder import RunFolder
from pipelines.runners.orchestration import Task, follow, run_tasks
from pipelines.training import Placement

SECONDS_TO_END = 5.0  # from SIGTERM to SIGKILL for an interrupted step


def placement() -> Placement:
    """Return an empty placement: processes need nothing."""
    return Placement()


def run(
    pipeline: base_component.BaseComponent, arguments: Mapping[str, Value], *, run: RunFolder, display: Display
) -> None:
    """Run the pipeline step by step and wait for its end.

    Raises:
        StepError: The first step that fails; later steps do not run.
    """
    run_tasks(pipeline, arguments, run=run, display=display, start=_start)


def _start(task: Task, display: Display) -> int:
    environment = {
        **os.environ,
        **task.variables,
        # KFP's command calls `python3`: it must find this interpreter.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # A user's folder with the name of one of our packages must not be imported instead.
        "PYTHONSAFEPATH": "1",
        ERROR_FILE: str(task.error_file),
        PROGRESS: "1",
    }
    with (
        task.log.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            task.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            follow(process.stdout or (), log, display)
            return process.wait()
        finally:
            # End all processes of the step that are still running: it may be interrupted, or have left some behind.
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(SECONDS_TO_END)
                os.killpg(process.pid, signal.SIGKILL)  # the shell may end before its children
