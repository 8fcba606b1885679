"""`mnist schedule`: names, options and help of its commands; `schedule_actions.py` executes them.

Each command imports its implementation when it is called, so that help, completion and usage errors are instant.
"""

from typing import Annotated

import typer

from pipelines.commands.options import PROFILES, Command, OnProfile, Profiles, ScheduleName

HAS_CHANGES = 10  # exit code of `plan --check`: 1 is an error, 2 a usage error

app = typer.Typer(
    help="Manage the schedules of a profile on its platform.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Prune = Annotated[
    bool, typer.Option("--prune", help="Also remove schedules of this profile that are no longer in the file.")
]


@app.command()
def plan(
    on: OnProfile,
    prune: Prune = False,
    check: Annotated[
        bool, typer.Option("--check", help=f"End with exit code {HAS_CHANGES} if apply would change something.")
    ] = False,
    profiles: Profiles = PROFILES,
) -> None:
    """Show what apply would change and why, without changing anything.

    Each schedule is shown with its next times, in its time zone.
    """
    from pipelines.commands.schedule_actions import show_plan

    if show_plan(on, profiles, prune=prune) and check:
        raise typer.Exit(HAS_CHANGES)


@app.command()
def apply(on: OnProfile, prune: Prune = False, profiles: Profiles = PROFILES) -> None:
    """Make the schedules on the platform match the file.

    A schedule that already matches is left unchanged; one that has changed is replaced without a gap. The command can
    be repeated at any time. Missed times are not caught up, except that on Kubeflow the last time that a long run
    delayed fires when that run has ended.
    """
    from pipelines.commands.schedule_actions import apply_plan

    apply_plan(on, profiles, prune=prune)


@app.command("list")
def list_schedules(on: OnProfile, profiles: Profiles = PROFILES) -> None:
    """List the schedules on the platform.

    Schedules that others created are listed too, after those of the profile.
    """
    from pipelines.commands.schedule_actions import list_existing

    list_existing(on, profiles)


@app.command(cls=Command)
def pause(name: ScheduleName, on: OnProfile, profiles: Profiles = PROFILES) -> None:
    """Stop a schedule from starting runs until it is resumed.

    It stays paused across every apply, unless the file says paused = false.
    """
    from pipelines.commands.schedule_actions import pause_schedule

    pause_schedule(name, on, profiles)


@app.command(cls=Command)
def resume(name: ScheduleName, on: OnProfile, profiles: Profiles = PROFILES) -> None:
    """Let a paused schedule start runs again.

    Times that it missed while paused are not caught up.
    """
    from pipelines.commands.schedule_actions import resume_schedule

    resume_schedule(name, on, profiles)


@app.command("run-now", cls=Command)
def run_now(name: ScheduleName, on: OnProfile, profiles: Profiles = PROFILES) -> None:
    """Start a run of a schedule now.

    The run has the pipeline and parameters of the schedule on the platform. The schedule keeps its times.
    """
    from pipelines.commands.schedule_actions import run_schedule

    run_schedule(name, on, profiles)


@app.command(cls=Command)
def delete(name: ScheduleName, on: OnProfile, profiles: Profiles = PROFILES) -> None:
    """Delete a schedule from the platform.

    The runs that it started continue.
    """
    from pipelines.commands.schedule_actions import delete_schedule

    delete_schedule(name, on, profiles)
