"""What the shell offers when Tab is pressed. Typer drops what does not begin with the incomplete word."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from components.mnist.settings import SETTINGS
from pipelines.names import list_inputs, list_steps, read_tables
from pipelines.runners.table import RUNNERS


def complete_pair(incomplete: str) -> list[str]:
    """NAME=VALUE for a parameter of the pipeline."""
    return _complete_pair(SETTINGS, incomplete)


def complete_input(ctx: typer.Context, incomplete: str) -> list[str]:
    """NAME=VALUE for a parameter or an input artifact of the step that is named before."""
    step = ctx.params.get("name")
    return _complete_pair(list_inputs(step), incomplete) if step in list_steps() else []


def complete_runner() -> list[str]:
    """A runner."""
    return [*RUNNERS]


def complete_profile(ctx: typer.Context) -> list[str]:
    """A profile of mnist.toml, or of the file that --profiles names."""
    return [*_read_profiles(ctx)]


def complete_on(ctx: typer.Context) -> list[str]:
    """A runner or a profile."""
    return [*RUNNERS, *_read_profiles(ctx)]


def complete_step() -> list[str]:
    """A step."""
    return list_steps()


def complete_schedule(ctx: typer.Context) -> Iterator[str]:
    """A schedule in the file: of the profile that --on names, or of any where --on comes later."""
    for profile, table in _read_profiles(ctx).items():
        if ctx.params.get("on") in (None, profile):
            yield from (schedule["name"] for schedule in table.get("schedules", ()) if "name" in schedule)


def _read_profiles(ctx: typer.Context) -> dict[str, dict[str, Any]]:
    # What is wrong with the file is said when the command runs.
    with contextlib.suppress(OSError, ValueError):
        tables = read_tables(ctx.params["profiles"])
        return {name: table for name, table in tables.items() if isinstance(table, dict)}
    return {}


def _complete_pair(names: Iterable[str], incomplete: str) -> list[str]:
    name, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{name}={value}" for value in _list_values(name)]
    bash_words = _read_bash_words()
    match bash_words:
        case [*_, name, "="] | [*_, name, "=", _]:
            return _list_values(name)
    matching = [name for name in names if name.startswith(incomplete)]
    pairs = [f"{name}=" for name in matching]
    if bash_words and len(matching) == 1:
        # Bash puts a space after an only candidate, but none after what several have in common.
        pairs.append(f"{matching[0]}=VALUE")
    return pairs


def _list_values(name: str) -> list[str]:
    """The choices of a parameter; none for a number, a text or an artifact, for which bash offers files."""
    setting = SETTINGS.get(name)
    if setting is None:
        return []
    return ["true", "false"] if setting.kind is bool else [*setting.choices]


def _read_bash_words() -> list[str]:
    """The words up to the cursor where bash asks; polarity=d is three of them, and only the last is completed."""
    last = int(os.environ.get("COMP_CWORD", "-1"))
    return os.environ.get("COMP_WORDS", "").split("\n")[: last + 1]
