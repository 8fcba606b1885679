"""Run a pipeline by a runner for `mnist run` and `mnist step`: show progress and errors, handle Ctrl-C."""

import time
from collections.abc import Mapping

import typer
from kfp.dsl import base_component

from components.mnist.settings import Value
from pipelines import container_images
from pipelines.commands.console import console, errors, refuse
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError
from pipelines.runners.table import load_runner

INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended


def execute(
    pipeline: base_component.BaseComponent, values: Mapping[str, Value], *, on: str, run: RunFolder, verbose: bool
) -> None:
    """Run a pipeline in a run folder and wait for its end.

    Ends the command with exit code 1 when a step fails, and with 130 when it is interrupted.
    """
    started = time.monotonic()
    run.save(
        pipeline=pipeline.name,
        on=on,
        code=container_images.code(),
        commit=container_images.commit(),
        state="running",
    )
    console.out(run.folder, style="dim")
    try:
        load_runner(on).run(pipeline, values, run=run, display=Display(console, verbose=verbose))
    except StepError as failure:
        run.save(state="failed", failed_step=failure.step, error=failure.message)
        if verbose and failure.details:
            errors.out(failure.details)
        refuse(f"{failure.step}: {failure.message}", f"log: {failure.log}")
    except KeyboardInterrupt:
        run.save(state="interrupted")
        errors.out(f"Interrupted. The results so far are in {run.folder}.")
        raise typer.Exit(INTERRUPTED) from None
    except BaseException as error:
        run.save(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    seconds = round(time.monotonic() - started, 1)
    run.save(state="succeeded", seconds_in_all=seconds)
    console.out(f"done in {seconds} s")
