"""Read `mnist.toml`, a table per profile, and say plainly what is wrong with it.

Secrets never stand in the file: it names the files and environment variables that hold them. One that got there by
mistake is not repeated in an error.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any

import pydantic
from pydantic_core import ErrorDetails

from components.mnist.errors import SettingError
from pipelines.profiles import (
    NAME,
    PLATFORMS,
    AnyProfile,
    DexSignIn,
    KubeflowProfile,
    Profile,
    TokenSignIn,
    VertexProfile,
)

FILE = Path("mnist.toml")
EXAMPLE = "mnist.example.toml"
RESERVED = ("local", "docker")

# What a pattern means, for a person.
EXPECTED = {
    "host": "an address such as https://kubeflow.example.com/pipeline",
    "pipeline_root": "a folder in a bucket: gs://bucket/folder",
    "project": "a project's id such as my-project-123",
    "region": "a region such as europe-west4",
    "name": "at most 30 of a-z, 0-9 and -, a letter first",
    "cpu": 'a number of cores such as "4" or "500m"',
    "memory": 'an amount such as "8G" or "512Mi"',
    "labels": "labels of at most 63 of a-z, 0-9, _ and -, keys with a letter first",
    "mount": "the path of a folder, from /",
    "endpoint": "host or host:port",
}
METHODS = "none, token, dex, iap or service-account"
TYPES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}
WANTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "tuple_type": "a list",
    "mapping_type": "a table",
    "dict_type": "a table",
    "model_type": "a table",
    "datetime_type": "a date and time such as 2026-12-01T06:00:00",
    "string_too_short": "text that is not empty",
}


def read_names(file: Path) -> list[str]:
    """The profiles of a file; none when there is no file.

    Raises:
        SettingError: It cannot be read.
    """
    return list(_read(file)) if file.exists() else []


def read_profile(name: str, file: Path) -> AnyProfile:
    """Read one profile and check all of it.

    Raises:
        SettingError: No such file or profile, or something in it is unknown, missing or of another type.
    """
    if not file.exists():
        raise SettingError(
            f"--on {name}: no such place; expected {', '.join(RESERVED)}, or a profile of {file}, which is not there. "
            f"Start from the example: cp {EXAMPLE} {file}"
        )
    tables = _read(file)
    if name not in tables:
        nearest = difflib.get_close_matches(name, tables, 1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join([*RESERVED, *tables])}."
        raise SettingError(f"--on {name}: no such place, and no such profile in {file}; {hint}")
    profile = _check(tables[name], name, file)
    _check_whole(profile, file)
    return profile


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{file}: not TOML ({error}). Correct it there; {EXAMPLE} shows the form.") from None
    except OSError as error:
        raise SettingError(f"{file}: cannot be read ({error.strerror}).") from None
    for name, table in content.items():
        if not isinstance(table, dict):
            raise SettingError(
                f"{file}: {name} stands outside of any table; expected every key in a profile. Put it below the "
                "line [profile] that it belongs to."
            )
        if not NAME.fullmatch(name) or name in RESERVED:
            raise SettingError(
                f"{file}: [{name}] cannot be a profile's name; expected {EXPECTED['name']}, and not "
                f"{' or '.join(RESERVED)}."
            )
    return content


def _check(table: dict[str, Any], name: str, file: Path) -> AnyProfile:
    platform = table.get("platform")
    if not isinstance(platform, str) or platform not in PLATFORMS:
        found = f"platform is {platform!r}" if "platform" in table else "no platform"
        known = " or ".join(f'"{known}"' for known in PLATFORMS)
        raise SettingError(f"{file}: [{name}] has {found}; expected platform = {known}.")
    if "name" in table:
        raise SettingError(f"{file}: [{name}] has an unknown key name. Remove it: the table's own name counts.")
    try:
        return PLATFORMS[platform].model_validate(_lists_to_tuples({**table, "name": name}))
    except pydantic.ValidationError as error:
        lines = [_explain(details, PLATFORMS[platform]) for details in error.errors(include_url=False)]
        raise SettingError(f"{file}: [{name}] {' It '.join(lines)} {EXAMPLE} explains every key.") from None


def _lists_to_tuples(value: Any) -> Any:
    """TOML has lists, but what was read must not change afterwards."""
    if isinstance(value, dict):
        return {key: _lists_to_tuples(inner) for key, inner in value.items()}
    return tuple(_lists_to_tuples(inner) for inner in value) if isinstance(value, list) else value


def _explain(details: ErrorDetails, model: type[Profile]) -> str:
    """One finding in words. What arrived is told by its type only: it might be a secret in the wrong place."""
    path = list(details["loc"])
    if path[0] == "sign_in" and len(path) > 1:
        del path[1]  # the method, by which pydantic chose what to compare with
    key = ".".join(map(str, path))
    last = str(path[-1]) if path else ""
    field = next((str(part) for part in reversed(path) if str(part) in EXPECTED), last)
    kind = details["type"]
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(last, model.model_fields, 1) if len(path) == 1 else []
        return f"has an unknown key {key}" + (f", did you mean {nearest[0]}?" if nearest else ".")
    if kind == "missing":
        return f"lacks {key}, expected " + EXPECTED.get(last, "a value") + "."
    if kind.startswith("union_tag"):
        return f"lacks a {key}.method that is known, expected {METHODS}."
    if kind == "string_pattern_mismatch":
        return f"has another form of {key}, expected {EXPECTED.get(field, 'another form')}."
    arrived = TYPES.get(type(details["input"]), type(details["input"]).__name__)
    if kind in WANTED:
        return f"has {arrived} as {key}, expected {WANTED[kind]}."
    expected = str(details["msg"]).removeprefix("Input should be ")
    return f"has {key.removesuffix('.[key]')} out of range, expected {expected}."


def _check_whole(profile: AnyProfile, file: Path) -> None:
    """What no single key shows."""
    place = f"{file}: [{profile.name}]"
    if "accelerator_count" in profile.model_fields_set and not profile.accelerator:
        raise SettingError(f"{place} has accelerator_count without accelerator. Add it, or remove the count.")
    names = [schedule.name for schedule in profile.schedules]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise SettingError(f"{place} has two schedules named {double[0]}. Rename one.")
    if isinstance(profile, VertexProfile):
        if profile.accelerator and not profile.accelerator.startswith("NVIDIA_"):
            raise SettingError(
                f"{place} has the accelerator {profile.accelerator}; expected Vertex AI's name of an NVIDIA GPU, such "
                "as NVIDIA_L4: the trainer's image has CUDA."
            )
        _check_machine(profile, place)
        return
    if profile.accelerator and not profile.accelerator.startswith("nvidia.com/"):
        raise SettingError(
            f"{place} has the accelerator {profile.accelerator}; expected Kubernetes' name of the resource, such as "
            "nvidia.com/gpu: the trainer's image has CUDA. The model of GPU is chosen by node_selector."
        )
    _check_secrets(profile, place)


def _check_machine(profile: VertexProfile, place: str) -> None:
    if profile.spot and profile.accelerator and not profile.machine_type:
        raise SettingError(
            f"{place} has spot and the accelerator {profile.accelerator} without machine_type; expected a machine that "
            'takes it, such as machine_type = "g2-standard-8" for NVIDIA_L4.'
        )
    if "train" in profile.resources and (profile.machine_type or profile.spot):
        raise SettingError(
            f"{place} has resources.train beside machine_type or spot, with which training gets a whole machine. Keep "
            "one of them."
        )


def _check_secrets(profile: KubeflowProfile, place: str) -> None:
    match profile.sign_in:
        case TokenSignIn(file=one, variable=other) if (one is None) == (other is None):
            raise SettingError(f"{place} sign_in needs file or variable, one of them.")
        case DexSignIn(password_file=one, password_variable=other) if (one is None) == (other is None):
            raise SettingError(f"{place} sign_in needs password_file or password_variable, one of them.")
    for secret in profile.storage_secrets:
        if not secret.mount and not secret.variables:
            raise SettingError(
                f"{place} storage_secrets: {secret.name} is not used; expected mount, variables or both."
            )
