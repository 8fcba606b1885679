"""What a person may write as `name=value`, checked against the pipeline's signature before anything runs."""

import difflib
from collections.abc import Iterable

from kfp.dsl import base_component

from components.mnist.errors import SettingError
from components.mnist.settings import SETTINGS, Value, check


def read_defaults(pipeline: base_component.BaseComponent) -> dict[str, Value]:
    """Every parameter of the pipeline with its default, in the order of the signature."""
    inputs = pipeline.component_spec.inputs or {}
    return {name: check(name, spec.default) for name, spec in inputs.items()}


def parse_pairs(pairs: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Split `name=value` words and refuse names that nobody knows.

    Args:
        pairs: As they come from the command line.
        known: The names that are taken.

    Raises:
        SettingError: A word has no `=`, a name is unknown or stands twice.
    """
    known = list(known)
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if name not in known:
            raise SettingError(_unknown(name, known))
        if not equals:
            raise SettingError(f"{pair}: expected name=value, as in {name}=VALUE.")
        if name in parsed:
            raise SettingError(f"{name} is given twice: {name}={parsed[name]} and {pair}. Keep one.")
        parsed[name] = value
    return parsed


def check_values(given: dict[str, str], defaults: dict[str, Value]) -> dict[str, Value]:
    """Merge what was given into the defaults, each value in its own type.

    Raises:
        SettingError: A value is of another type or out of range.
    """
    return defaults | {name: check(name, value) for name, value in given.items()}


def describe(defaults: dict[str, Value]) -> list[tuple[str, str, str, str]]:
    """A row for each parameter: name, default, range, meaning."""
    return [
        (name, spell(default), SETTINGS[name].describe_range(), SETTINGS[name].meaning)
        for name, default in defaults.items()
    ]


def spell(value: Value) -> str:
    """Write a value the way the command line takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}."
    return f"{name}: no such parameter; {hint} `mnist params` lists them all."
