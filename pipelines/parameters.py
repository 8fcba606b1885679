"""What a person may write as `name=value`, checked before anything runs, and before anything slow is imported."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from components.mnist.errors import SettingError, suggest
from components.mnist.settings import SETTINGS, Value, check, spell

if TYPE_CHECKING:
    from kfp.dsl import base_component


def read_defaults(pipeline: "base_component.BaseComponent") -> dict[str, Value]:
    """Every parameter of the pipeline with its default, in the order of the signature."""
    inputs = pipeline.component_spec.inputs or {}
    return {name: check(name, spec.default) for name, spec in inputs.items()}


def parse_pairs(pairs: Iterable[str], known: Iterable[str], *, step: str = "") -> dict[str, str]:
    """Split `name=value` words, as they come from the command line.

    Args:
        known: The names that are taken.
        step: The step whose inputs they are; empty for the pipeline's parameters.

    Raises:
        SettingError: A word has no `=`, a name is unknown or is given twice.
    """
    known = list(known)
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name:
            raise SettingError(f"{pair}: expected name=value, as in {known[0]}=VALUE.")
        if name not in known:
            hint = suggest(name, known, otherwise=f"expected one of {', '.join(known)}.")
            if step:
                raise SettingError(f"{name}: {step} has no such input; {hint}")
            raise SettingError(f"{name}: no such parameter; {hint} `mnist params` lists them all.")
        if not equals:
            raise SettingError(f"{pair}: expected name=value, as in {name}=VALUE.")
        if name in parsed:
            raise SettingError(f"{name} is given twice: {name}={parsed[name]} and {pair}. Keep one.")
        parsed[name] = value
    return parsed


def check_values(given: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of parameters, each in its own type.

    Raises:
        SettingError: A parameter is unknown, or its value is of another type or out of range.
    """
    return {name: check(name, value) for name, value in given.items()}


def describe(defaults: Mapping[str, Value]) -> list[tuple[str, str, str, str]]:
    """A row for each parameter: name, default, range, meaning."""
    return [
        (name, spell(default), SETTINGS[name].describe_range(), SETTINGS[name].meaning)
        for name, default in defaults.items()
    ]
