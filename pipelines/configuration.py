"""Read `mnist.toml`, a table per profile, and report errors in it.

The file holds no secrets: it names the files and environment variables that hold them. A secret that is in the file by
mistake is not repeated in an error.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic
from pydantic_core import ErrorDetails

from components.mnist.errors import SettingError, suggest
from pipelines.names import EXAMPLE, explain_unknown
from pipelines.platforms.table import PLATFORMS
from pipelines.profiles import NAME, Form, Profile
from pipelines.runners.table import RUNNERS

# Python types that arrived, and pydantic's errors for the types that it expected, in the terms of a TOML file.
ARRIVED = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list",
    dict: "a table",
}
EXPECTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "tuple_type": "a list",
    "mapping_type": "a table",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "datetime_type": "a date and time such as 2026-12-01T06:00:00",
    "string_too_short": "text that is not empty",
}


def read_names(file: Path) -> list[str]:
    """List the profiles of a file; none if there is no file.

    Raises:
        SettingError: The file cannot be read.
    """
    return list(_read_tables(file)) if file.exists() else []


def read_profile(name: str, file: Path) -> Profile:
    """Read and check one profile.

    Raises:
        SettingError: There is no such file or profile, or a key of it is unknown, missing or of another type.
    """
    tables = _read_tables(file) if file.exists() else {}
    if name not in tables:
        raise explain_unknown(name, file, tables)
    table = tables[name]
    platform = table.get("platform")
    if not isinstance(platform, str) or platform not in PLATFORMS:
        found = f"the platform {platform!r}" if "platform" in table else "no platform"
        known = " or ".join(f'"{known}"' for known in PLATFORMS)
        hint = " Its key target is now called platform." if "target" in table else ""
        raise SettingError(f"{file}: [{name}] has {found}; expected platform = {known}.{hint}")
    if "name" in table:
        raise SettingError(f"{file}: [{name}] has an unknown key name. Remove it: the table's own name counts.")
    model = PLATFORMS[platform].profile
    try:
        return model.model_validate(_lists_to_tuples({**table, "name": name}))
    except pydantic.ValidationError as error:
        lines = [_explain(details, model) for details in error.errors(include_url=False)]
        raise SettingError(f"{file}: [{name}] {' It '.join(lines)} {EXAMPLE} explains every key.") from None


def _read_tables(file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{file}: not TOML ({error}). Correct it there; {EXAMPLE} shows the form.") from None
    except OSError as error:
        raise SettingError(f"{file}: cannot be read ({error.strerror}).") from None
    for name, table in content.items():
        if not isinstance(table, dict):
            raise SettingError(
                f"{file}: {name} is outside of any table; expected every key in a profile. Put it below the line "
                "[profile] that it belongs to."
            )
        if name in RUNNERS or not re.fullmatch(NAME.pattern, name):
            raise SettingError(
                f"{file}: [{name}] cannot be a profile's name; expected {NAME.expected}, and not "
                f"{' or '.join(RUNNERS)}."
            )
    return content


def _lists_to_tuples(value: Any) -> Any:
    """Convert TOML's lists to tuples, so that a profile is immutable."""
    if isinstance(value, dict):
        return {key: _lists_to_tuples(inner) for key, inner in value.items()}
    return tuple(_lists_to_tuples(inner) for inner in value) if isinstance(value, list) else value


def _explain(details: ErrorDetails, model: type[Profile]) -> str:
    """Describe one of pydantic's errors. Of the value, only the type is named: it might be a secret."""
    path = list(details["loc"])
    if path[:1] == ["sign_in"]:
        del path[1:2]  # the method, which pydantic adds to the path
    key = ".".join(map(str, path)).removesuffix(".[key]")
    match details["type"]:
        case "value_error":  # a sentence from one of our validators
            return str(details["ctx"]["error"])
        case "form":
            return f"has a malformed {key}, expected {details['msg']}."
        case "extra_forbidden":
            hint = suggest(key, model.model_fields, otherwise="") if len(path) == 1 else ""
            return f"has an unknown key {key}" + (f", {hint}" if hint else ".")
        case "missing":
            return f"lacks {key}, expected {_describe_form(model, path)}."
        case "union_tag_not_found":
            return f"lacks {key}.method, expected one of those that {EXAMPLE} lists."
        case "union_tag_invalid":
            return f"has an unknown {key}.method, expected one of {details['ctx']['expected_tags']}."
        case kind if kind in EXPECTED:
            arrived = ARRIVED.get(type(details["input"]), type(details["input"]).__name__)
            return f"has {arrived} as {key}, expected {EXPECTED[kind]}."
        case _:
            return f"has {key} out of range, expected {details['msg'].removeprefix('Input should be ')}."


def _describe_form(model: type[Profile], path: Iterable[int | str]) -> str:
    """Describe the form of a key of the profile itself."""
    first, *deeper = path
    metadata = model.model_fields[str(first)].metadata if not deeper else []
    forms = (getattr(each, "func", None) for each in metadata)
    return next((form.expected for form in forms if isinstance(form, Form)), "a value")
