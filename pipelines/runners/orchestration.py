"""Run a pipeline with KFP's local orchestration, but start each step by the runner.

KFP resolves the graph, the artifacts and the order. Its own runners are not used, because they replace the text
`python3` inside argument values, mix a step's output with their own, and leave the step running when interrupted.
"""

import contextlib
import dataclasses
import json
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from kfp import local
from kfp.dsl import base_component
from kfp.local import status, subprocess_task_handler

from components.mnist.progress import SENTENCE, UPDATE
from components.mnist.settings import Value
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError
from pipelines.steps import read_step_name

METADATA_ONLY = ("system.Metrics", "system.ClassificationMetrics")  # may exist only in KFP's metadata


@dataclass(frozen=True)
class Task:
    """One step, ready to be started.

    Attributes:
        name: Name of the component.
        image: The step's image in the pipeline.
        command: The command of KFP's executor; `python3` in it is the step's Python.
        variables: Environment variables that the pipeline sets.
        log: The file for the step's output.
        error_file: The file for the library's error report; absolute.
    """

    name: str
    image: str
    command: list[str]
    variables: Mapping[str, str]
    log: Path
    error_file: Path

    def executor_input(self) -> dict[str, Any]:
        """Return the step's inputs and outputs, as KFP passes them to its executor; whole numbers may be floats."""
        return json.loads(self.command[self.command.index("--executor_input") + 1])

    def with_source(self, source: str) -> "Task":
        """Return the same step with another value of its parameter `source`."""
        executor_input = self.executor_input()
        executor_input["inputs"]["parameterValues"]["source"] = source
        index = self.command.index("--executor_input") + 1
        command = [*self.command[:index], json.dumps(executor_input), *self.command[index + 1 :]]
        return dataclasses.replace(self, command=command)

    def input_paths(self) -> list[Path]:
        """Return the paths of the step's input artifacts."""
        return [Path(artifact["uri"]) for artifact in self._artifacts("inputs")]

    def record_file(self) -> Path:
        """Return the file in which KFP's executor records the step's outputs at its end, in the step's own folder."""
        return Path(self.executor_input()["outputs"]["outputFile"])

    def missing_outputs(self) -> list[Path]:
        """Return the files that a successful step must have written, but that are missing."""
        artifacts = self._artifacts("outputs")
        files = [Path(each["uri"]) for each in artifacts if each["type"]["schemaTitle"] not in METADATA_ONLY]
        return [path for path in (self.record_file(), *files) if not path.exists()]

    def _artifacts(self, side: str) -> list[dict[str, Any]]:
        lists = self.executor_input()[side].get("artifacts", {}).values()
        return [artifact for artifacts in lists for artifact in artifacts["artifacts"]]


# Runs a task to its end, shows its output, and returns its exit code (negative: the signal that ended it); raises
# StepError if it knows more precisely why the task failed.
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
        arguments: By parameter name; missing ones have their defaults.
        run: The folder for the artifacts, the logs and the seconds of each step.
        display: Shows each step.

    Raises:
        StepError: The first task that fails; later tasks do not run.
    """
    failures: list[StepError] = []
    seconds: dict[str, float] = {}
    root = (run.folder / "kfp").absolute()

    def perform(task: Task) -> status.Status:
        display.start_step(task.name)
        has_failed = True
        try:
            _check_end(task, start(task, display))
            has_failed = False
        except StepError as failure:
            failures.append(failure)
        finally:
            seconds[task.name] = round(display.end_step(failed=has_failed), 1)
        return status.Status.FAILURE if has_failed else status.Status.SUCCESS

    def handle(*, image: str, full_command: list[str], env_vars: Mapping[str, str], **_: object) -> SimpleNamespace:
        """Replace KFP's handler class: KFP calls it for each task, then `run` of its result."""
        name = read_step_name(full_command)
        log, error_file = run.logs / f"{name}.log", run.logs.absolute() / f"{name}.error.json"
        return SimpleNamespace(run=lambda: perform(Task(name, image, full_command, env_vars, log, error_file)))

    try:
        with _kfp_calling(handle, log=run.logs / "pipeline.log"):
            local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
            pipeline(**arguments)
    except RuntimeError as error:
        # KFP reports only that an inner task failed: `failures` has the task and the reason.
        raise failures[0] if failures else error from None
    finally:
        run.save(seconds=seconds)
        for outputs in root.glob("*"):  # one folder, named by pipeline and time
            outputs.rename(run.steps)
            root.rmdir()


def follow(lines: Iterable[str], log: IO[str], display: Display) -> None:
    """Write a step's lines to its log and show them, as they arrive."""
    for line in lines:
        if not line.startswith(UPDATE):
            log.write(line.removeprefix(SENTENCE))
            log.flush()
        display.show_line(line)


def _check_end(task: Task, code: int) -> None:
    """Raise StepError if a task failed: by its error report, its exit code, or a missing output."""
    missing = ", ".join(path.name for path in task.missing_outputs())
    if code == 0 and not missing:
        return
    if task.error_file.is_file():
        error = json.loads(task.error_file.read_text(encoding="utf-8"))
        message = error["message"] if error["expected"] else f"unexpected {error['error']}: {error['message']}"
        raise StepError(task.name, message, log=task.log, details=error["details"])
    number = -code if code < 0 else code - 128  # a shell adds 128 to the signal that ended its child
    if code == 0:
        message = f"ended without an error, but did not write {missing}."
    elif number == signal.SIGKILL:
        message = "killed from outside, most often because memory ran out."
    elif number in set(signal.Signals):
        message = f"ended by {signal.Signals(number).name}."
    else:
        last = task.log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2].strip()
        message = f"ended with exit code {code}; its last output: {last or 'nothing'}"
    raise StepError(task.name, message, log=task.log)


@contextlib.contextmanager
def _kfp_calling(handle: Callable[..., SimpleNamespace], *, log: Path) -> Iterator[None]:
    """Let KFP's subprocess runner use our handler for each task; redirect KFP's own output to a file."""
    original = subprocess_task_handler.SubprocessTaskHandler
    subprocess_task_handler.SubprocessTaskHandler = handle
    try:
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            yield
    finally:
        subprocess_task_handler.SubprocessTaskHandler = original
