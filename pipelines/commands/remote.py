"""Submit, follow and cancel runs on Kubeflow and Vertex AI, for the command."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer

from components.mnist.errors import DataError, OutputError
from components.mnist.settings import Value
from pipelines import compilation, configuration, container_images, training
from pipelines.commands.console import console, errors, refuse, show_metrics, show_path
from pipelines.commands.local_run import INTERRUPTED
from pipelines.display import show_download
from pipelines.platforms import remote_runs, retrying
from pipelines.platforms.base import MissingError, PlatformClient, PlatformError, RunState, State
from pipelines.platforms.table import connect
from pipelines.profiles import Profile
from pipelines.run_folder import RunFolder

CANCELLED = 3  # the exit code when a run was cancelled


def submit_run(profile: Profile, given: Mapping[str, Value], *, runs: Path, wait: bool) -> None:
    """Submit a run, follow it, and end the command according to its final state."""
    job = compilation.build_job(profile, given)
    platform = connect(profile)
    name = remote_runs.new_name(training.NAME)
    new = RunFolder(runs, title="")
    new.save(
        pipeline=training.NAME,
        on=profile.name,
        name=name,
        parameters=job.parameters,
        code=job.code,
        commit=container_images.commit(),
        state="new",
    )
    retrying.on_trouble = lambda error: _show_line(f"trying again: {error}")
    try:
        run_id = platform.submit(job, name=name)
    except KeyboardInterrupt:
        new.save(state="unknown")
        errors.out(
            f"Interrupted while submitting: the run {name} may or may not have been started. Look for this name on "
            "the platform's page of runs."
        )
        raise typer.Exit(INTERRUPTED) from None
    except PlatformError as error:
        new.save(state="unknown" if error.may_have_happened else "refused", error=str(error))
        raise
    finally:
        retrying.on_trouble = None
    with _left_running(profile, run_id):
        # Printed before it is saved: if the disk is full, the run exists all the same.
        console.out(f"run   {run_id}\npage  {platform.link(run_id)}")
        new.save(state="running", run_id=run_id, link=platform.link(run_id))
        new.link_as_latest()
        if not wait:
            console.out(f"follow it: mnist follow {run_id} --on {profile.name}")
            return
        ended = remote_runs.follow(platform, run_id, _show_line)
    _show_end(platform, run_id, ended, new)


def follow_run(run_id: str, on: str, *, runs: Path, profiles: Path) -> None:
    """Follow a run of a profile to its end, and fetch its metrics and report."""
    profile = configuration.read_profile(on, profiles)
    platform = connect(profile)
    with _left_running(profile, run_id):
        platform.read_run(run_id)  # a wrong id fails here, before a folder is created for it
        new = RunFolder(runs, title="")
        new.save(pipeline=training.NAME, on=profile.name, state="running", run_id=run_id, link=platform.link(run_id))
        new.link_as_latest()
        ended = remote_runs.follow(platform, run_id, _show_line)
    _show_end(platform, run_id, ended, new)


def cancel_run(run_id: str, on: str, *, profiles: Path) -> None:
    """Cancel a run of a profile."""
    platform = connect(configuration.read_profile(on, profiles))
    if (state := platform.read_run(run_id).state).is_final:
        console.out(f"The run has already ended ({state}): {platform.link(run_id)}")
        return
    platform.cancel(run_id)
    console.out(f"Cancellation requested: {platform.link(run_id)}")


def _show_end(platform: PlatformClient, run_id: str, ended: RunState, record: RunFolder) -> None:
    """Show the result of a run, and end the command according to it."""
    record.save(state=str(ended.state), seconds={task.name: task.seconds for task in ended.tasks})
    if ended.state is State.SUCCEEDED:
        _show_results(platform, run_id, record)
        return
    failed = " and ".join(task.name for task in ended.tasks if task.state is State.FAILED)
    if ended.state is State.CANCELLED:
        errors.out(f"cancelled{f', after {failed} had failed' if failed else ''}", style="red")
        raise typer.Exit(CANCELLED)
    # The step's own message before the platform's.
    words = (f"{task.name}: {remote_runs.explain(task.message)}" for task in ended.tasks if task.is_explained)
    reason = next(words, "") or remote_runs.explain(ended.message) or (f"in {failed}" if failed else "")
    record.save(error=reason)
    refuse(f"{ended.state}: {reason}" if reason else f"{ended.state}", f"page: {platform.link(run_id)}")


def _show_results(platform: PlatformClient, run_id: str, record: RunFolder) -> None:
    console.out("succeeded", style="green")
    try:
        with show_download(console, "report") as show:
            fetched = remote_runs.fetch(platform, run_id, record, show=show)
    except (DataError, PlatformError) as error:
        console.out(error, style="yellow")
        return
    if not fetched:
        console.out(
            "Metrics and report cannot be fetched: they are not in a gs:// bucket (pipeline_root in the profile). See "
            f"them on the run's page, the accuracy also in the log of its step evaluate: {platform.link(run_id)}"
        )
        return
    if missing := [
        f"{output} of {step}" for step, output in remote_runs.list_fetched() if (step, output) not in fetched
    ]:
        console.out(f"not found in the bucket: {', '.join(missing)}", style="yellow")
    if fetched >= {("evaluate", "metrics"), ("train", "model")}:
        try:
            show_metrics(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            console.out(f"the fetched metrics cannot be read ({error!r})", style="yellow")
    if report := record.collect_report():
        console.print()
        show_path("report", report)


def _show_line(line: str) -> None:
    console.out(f"{datetime.now(UTC).astimezone():%H:%M:%S}  {line}")


@contextmanager
def _left_running(profile: Profile, run_id: str) -> Iterator[None]:
    """If following stops, the run continues: say so, and how to follow it again or cancel it."""
    again = f"mnist follow {run_id} --on {profile.name}"
    try:
        yield
    except KeyboardInterrupt:
        errors.out(
            f"No longer following; the run continues.\n  follow it again: {again}\n  cancel it:       mnist cancel "
            f"{run_id} --on {profile.name}"
        )
        raise typer.Exit(INTERRUPTED) from None
    except MissingError:
        raise
    except PlatformError as error:
        raise type(error)(f"{error} The run continues; to follow it: {again}") from error
    except OSError as error:
        raise OutputError(
            f"{error.filename}: cannot be written ({error.strerror}). The run continues; to follow it: {again}"
        ) from error
