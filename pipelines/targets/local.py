"""Run a pipeline on this machine: KFP's own local orchestration, each step a process of this Python.

KFP resolves the graph, the artifacts and the order. The process of a step is ours, because KFP's own runner replaces
the text `python3` inside argument values, mixes a step's output with its own, and leaves the step running when it is
interrupted.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from kfp import local
from kfp.dsl import base_component
from kfp.local import status, subprocess_task_handler, task_handler_interface

from components.mnist.errors import ERROR_FILE
from components.mnist.progress import PROGRESS, SENTENCE, UPDATE
from components.mnist.settings import Value
from pipelines.display import Display
from pipelines.runs import Run, StepError

SECONDS_TO_END = 5.0  # between asking an interrupted step to end and ending it


def run(pipeline: base_component.BaseComponent, arguments: Mapping[str, Value], *, run: Run, display: Display) -> None:
    """Run the pipeline step by step and wait for its end.

    Args:
        pipeline: As `training.build` returns it.
        arguments: By parameter name; what is missing takes its default.
        run: Takes the artifacts and logs.
        display: Is told what happens.

    Raises:
        StepError: The first step that fails; later steps do not run.
    """
    failures: list[StepError] = []
    seconds: dict[str, float] = {}

    class Handler(task_handler_interface.ITaskHandler):
        """What KFP calls for each task."""

        def __init__(
            self, image: str, full_command: list[str], pipeline_root: str, runner: object, env_vars: Mapping[str, str]
        ) -> None:
            self.command = full_command
            self.variables = env_vars

        def run(self) -> status.Status:
            name = self.command[self.command.index("--function_to_execute") + 1]
            display.start_step(name)
            failed = True
            try:
                failure = _run_step(name, self.command, self.variables, run=run, display=display)
                failed = failure is not None
            finally:
                seconds[name] = round(display.end_step(failed=failed), 1)
            if failure:
                failures.append(failure)
                return status.Status.FAILURE
            return status.Status.SUCCESS

    root = run.folder / "kfp"
    try:
        with _quiet(run.logs / "pipeline.log"), _handled_by(Handler):
            local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
            pipeline(**arguments)
    except RuntimeError:
        # KFP only says that an inner task failed; the handler knows which one, and why.
        if not failures:
            raise
    finally:
        run.save(seconds=seconds)
        for resource in root.glob("*"):  # one folder, named by pipeline and time
            resource.rename(run.steps)
            root.rmdir()
    if failures:
        raise failures[0]


def _run_step(
    name: str, command: list[str], variables: Mapping[str, str], *, run: Run, display: Display
) -> StepError | None:
    """Run one step's process to its end, showing what it says; returns what went wrong."""
    error_file = (run.logs / f"{name}.error.json").absolute()
    environment = {
        **os.environ,
        **variables,
        # KFP's wrapper calls `python3`: let it find the interpreter that runs this.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # A folder of the user's that is named like one of our packages must not be imported instead.
        "PYTHONSAFEPATH": "1",
        ERROR_FILE: str(error_file),
        PROGRESS: "1",
    }
    log_path = run.logs / f"{name}.log"
    with log_path.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            _follow(process.stdout, log, display)
            code = process.wait()
        finally:
            _end(process)
    if code == 0:
        return None
    return _explain(name, code, error_file, log_path)


def _follow(output: IO[str], log: IO[str], display: Display) -> None:
    for line in output:
        if not line.startswith(UPDATE):
            log.write(line.removeprefix(SENTENCE))
            log.flush()
        display.show_line(line)


def _end(process: subprocess.Popen[str]) -> None:
    """End the step's processes, all of them, if they still run."""
    deadline = time.monotonic() + SECONDS_TO_END
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)  # the shell may be gone before its children
    process.wait()


def _explain(name: str, code: int, error_file: Path, log: Path) -> StepError:
    if error_file.is_file():
        error = json.loads(error_file.read_text(encoding="utf-8"))
        message = error["message"] if error["expected"] else f"unexpected {error['error']}: {error['message']}"
        return StepError(name, message, error["details"], log)
    signal_number = -code if code < 0 else code - 128
    if signal_number == signal.SIGKILL:
        return StepError(name, "killed from outside, most often because memory ran out.", "", log)
    if code < 0 or code > 128:
        return StepError(name, f"ended by {signal.Signals(signal_number).name}.", "", log)
    return StepError(name, f"ended with exit code {code} and no word about why.", "", log)


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what KFP itself prints and logs to a file."""
    # KFP hands the root logger back with a handler of its own: keep what is there.
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        level = logging.root.level
        try:
            yield
        finally:
            logging.root.setLevel(level)


@contextlib.contextmanager
def _handled_by(handler: type[task_handler_interface.ITaskHandler]) -> Iterator[None]:
    """Let KFP's subprocess runner use our handler for each task."""
    original = subprocess_task_handler.SubprocessTaskHandler
    subprocess_task_handler.SubprocessTaskHandler = handler
    try:
        yield
    finally:
        subprocess_task_handler.SubprocessTaskHandler = original
