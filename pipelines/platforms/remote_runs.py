"""Name and follow runs on any platform, and fetch their metrics and reports."""

import json
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from components.mnist.errors import DataError
from components.mnist.progress import OnProgress
from components.mnist.storage import gs
from pipelines.platforms.base import PlatformClient, RunState, State, TaskState, TransientError
from pipelines.run_folder import RunFolder
from pipelines.steps import STEPS

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 3600.0  # without an answer, after which following stops; the run continues


def new_name(pipeline: str) -> str:
    """Create a unique name for a run, by which it is found if the answer to its submission is lost."""
    return f"{pipeline}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def follow(platform: PlatformClient, run_id: str, show: Callable[[str], None]) -> RunState:
    """Wait for the end of a run.

    Args:
        show: Called with a line for each change of a task's state, and for each failed request.

    Raises:
        PlatformError: The platform has not answered for PATIENCE_SECONDS, or refuses the request.
    """
    seen: dict[str, State] = {}
    answered = time.monotonic()
    while True:
        try:
            state = platform.read_run(run_id)
        except TransientError as error:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
            show(f"no answer, trying again: {error}")
        else:
            answered = time.monotonic()
            for task in state.tasks:
                if seen.get(task.name) != task.state:
                    show(describe(task))
                seen[task.name] = task.state
            if state.state.is_final:
                return state
        time.sleep(POLL_SECONDS)


def describe(task: TaskState) -> str:
    """Describe a task in one line: name, state, duration and reason for a failure."""
    seconds = f" in {task.seconds:.0f} s" if task.seconds is not None and task.state.is_final else ""
    reason = f": {explain(task.message)}" if task.message and task.state is State.FAILED else ""
    return f"{task.name:<10} {task.state}{seconds}{reason}"


def explain(message: str) -> str:
    """Extract the step's own message from a platform's message; without one, return the latter."""
    if found := re.findall(r'"message": ("(?:[^"\\]|\\.)*")', message):
        return str(json.loads(found[-1]))
    return " ".join(message.split())


def list_fetched() -> dict[tuple[str, str], str]:
    """List the outputs to fetch after a run has succeeded: by step and output, the file to fetch, or "" for all."""
    return {(step.name, output): file for step in STEPS.values() for output, file in step.fetched.items()}


def fetch(platform: PlatformClient, run_id: str, run: RunFolder, *, show: OnProgress) -> set[tuple[str, str]]:
    """Fetch metrics and report of a finished run into its folder.

    Args:
        show: Called with the bytes done and the bytes in all of each transfer.

    Returns:
        Step and output of each artifact that was fetched.

    Raises:
        DataError: An artifact exists, but cannot be read from here.
    """
    artifacts = platform.find_artifacts(run_id)
    fetched = set()
    for (step, output), file in list_fetched().items():
        if (address := artifacts.get((step, output))) is None:
            continue
        target = run.steps / step / output / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            gs.copy(f"{address.rstrip('/')}/{file}" if file else address, target, on_progress=show)
        except DataError as error:
            raise DataError(f"the {output} of {step} was not fetched: {error}") from error
        fetched.add((step, output))
    return fetched
