"""KFP's own local orchestration, with the starting of each step left to the place.

KFP resolves the graph, the artifacts and the order. Starting a step is ours, because KFP's own runners replace the text
`python3` inside argument values, mix a step's output with their own, and leave the step running when interrupted.
"""

import contextlib
import json
import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kfp import local
from kfp.dsl import base_component
from kfp.local import status, subprocess_task_handler, task_handler_interface

from components.mnist.progress import SENTENCE, UPDATE
from components.mnist.settings import Value
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError


@dataclass(frozen=True)
class Task:
    """One step, ready to be started.

    Attributes:
        name: Of the component.
        image: The image it would run in.
        command: Words, as KFP's executor wants them; `python3` among them is the step's Python.
        variables: Environment variables that the pipeline sets.
        root: The folder under which the step reads and writes artifacts, absolute.
        log: The file that takes everything that the step prints.
        error_file: Where the library writes why it failed.
    """

    name: str
    image: str
    command: list[str]
    variables: Mapping[str, str]
    root: Path
    log: Path
    error_file: Path

    def parameters(self) -> dict[str, Value]:
        """What the step's parameters are; whole numbers may be floats, as KFP passes them."""
        return dict(self._executor_input()["inputs"].get("parameterValues", {}))

    def input_paths(self) -> list[Path]:
        """Where the artifacts lie that the step takes."""
        return [Path(artifact["uri"]) for artifact in self._artifacts("inputs")]

    def record_file(self) -> Path:
        """Where KFP's executor writes, at its very end, what the step gives; its folder is the step's own."""
        return Path(self._executor_input()["outputs"]["outputFile"])

    def missing_outputs(self) -> list[Path]:
        """What a step that succeeded must have written, and has not."""
        files = [Path(artifact["uri"]) for artifact in self._artifacts("outputs") if has_content(artifact)]
        return [path for path in (self.record_file(), *files) if not path.exists()]

    def _artifacts(self, side: str) -> list[dict[str, Any]]:
        lists = self._executor_input()[side].get("artifacts", {}).values()
        return [artifact for artifacts in lists for artifact in artifacts["artifacts"]]

    def _executor_input(self) -> dict[str, Any]:
        return json.loads(self.command[self.command.index("--executor_input") + 1])


def has_content(artifact: Mapping[str, Any]) -> bool:
    """Whether an artifact is a file or folder; figures may be nothing but metadata in KFP's record."""
    return artifact["type"]["schemaTitle"] not in ("system.Metrics", "system.ClassificationMetrics")


# Runs a task to its end, shows what it says, and returns its exit code (negative: the signal that ended it); raises
# StepError where it knows better why the task failed.
Start = Callable[[Task, Display], int]


def run_tasks(
    pipeline: base_component.BaseComponent,
    arguments: Mapping[str, Value],
    *,
    run: RunFolder,
    display: Display,
    start: Start,
) -> None:
    """Run the tasks of a pipeline in their order and wait for the end.

    Args:
        arguments: By parameter name; what is missing takes its default.
        run: Takes the artifacts and logs.
        display: Is told what happens.

    Raises:
        StepError: The first task that fails; later tasks do not run.
    """
    failures: list[StepError] = []
    seconds: dict[str, float] = {}
    root = (run.folder / "kfp").absolute()

    class Handler(task_handler_interface.ITaskHandler):
        """What KFP calls for each task."""

        def __init__(
            self, image: str, full_command: list[str], pipeline_root: str, runner: object, env_vars: Mapping[str, str]
        ) -> None:
            name = full_command[full_command.index("--function_to_execute") + 1]
            logs = run.logs.absolute()
            self.task = Task(
                name, image, full_command, env_vars, root, logs / f"{name}.log", logs / f"{name}.error.json"
            )

        def run(self) -> status.Status:
            display.start_step(self.task.name)
            failed = True
            try:
                failure = self._try()
                failed = failure is not None
            finally:
                seconds[self.task.name] = round(display.end_step(failed=failed), 1)
            if failure is None:
                return status.Status.SUCCESS
            failures.append(failure)
            return status.Status.FAILURE

        def _try(self) -> StepError | None:
            log = run.logs / self.task.log.name
            try:
                code = start(self.task, display)
            except StepError as failure:
                return failure
            if code != 0:
                return explain(self.task, code, log=log)
            if missing := self.task.missing_outputs():
                names = ", ".join(path.name for path in missing)
                return StepError(self.task.name, f"ended without an error, but did not write {names}.", "", log)
            return None

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


def follow(lines: Iterable[str], log: IO[str], display: Display) -> None:
    """Write a step's lines into its log and show them, as they come."""
    for line in lines:
        if not line.startswith(UPDATE):
            log.write(line.removeprefix(SENTENCE))
            log.flush()
        display.show_line(line)


def explain(task: Task, code: int, *, log: Path) -> StepError:
    """Say why a task failed: in the library's words, or by its exit code."""
    if task.error_file.is_file():
        error = json.loads(task.error_file.read_text(encoding="utf-8"))
        message = error["message"] if error["expected"] else f"unexpected {error['error']}: {error['message']}"
        return StepError(task.name, message, error["details"], log)
    number = -code if code < 0 else code - 128  # a shell adds 128 to the signal that ended its child
    if number == signal.SIGKILL:
        return StepError(task.name, "killed from outside, most often because memory ran out.", "", log)
    if number in set(signal.Signals):
        return StepError(task.name, f"ended by {signal.Signals(number).name}.", "", log)
    lines = task.log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return StepError(task.name, f"ended with exit code {code}; the last it printed: {last}", "", log)


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what KFP itself prints and logs to a file."""
    level = logging.root.level
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
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
