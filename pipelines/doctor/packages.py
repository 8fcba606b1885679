"""Compare what is installed with the lock, without importing any of it."""

import importlib.metadata
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines import container_images
from pipelines.checks import Finding, fail, ok, skip

LOCK = "requirements.txt"
PROJECT = "mnist-pipeline"
MEND = "make --always-make install"
SHOWN = 3


def check_packages(extras: Iterable[str]) -> Finding:
    """Hold everything that the project needs for these extras against the lock."""
    lock, project = container_images.ROOT / LOCK, container_images.ROOT / "pyproject.toml"
    if not lock.is_file() or not project.is_file():
        return skip(f"{LOCK} is not beside this code, so nobody knows which versions were tried together.")
    needed = find_needed(read_direct(project, extras))
    locked = read_lock(lock)
    missing = [name for name, version in needed.items() if version is None]
    others = [f"{name} is {found}, locked {locked[name]}" for name, found in _departing(needed, locked)]
    if not missing and not others:
        return ok(f"{len(needed)} installed, all in the versions that {LOCK} locks")
    told = [f"{_shorten(missing)} not installed"] if missing else []
    told += [_shorten(others)] if others else []
    return fail(f"{'; '.join(told)}.", f"Make the environment anew: {MEND}")


def find_missing(extras: Iterable[str]) -> list[str]:
    """What these extras need and is not installed."""
    needed = find_needed(read_direct(container_images.ROOT / "pyproject.toml", extras))
    return [name for name, version in needed.items() if version is None]


def read_direct(project: Path, extras: Iterable[str]) -> list[Requirement]:
    """What `pyproject.toml` asks for, itself and for some of its extras, on this machine and Python."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    lines = [*table["dependencies"], *(line for extra in extras for line in table["optional-dependencies"][extra])]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != PROJECT]


def find_needed(direct: Iterable[Requirement]) -> dict[str, str | None]:
    """Follow requirements to their end.

    Returns:
        The installed version by name, None where it is not installed; in the order in which they were met.
    """
    needed: dict[str, str | None] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in direct]
    while waiting:
        requirement, extra_of_parent = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra_of_parent}):
            continue
        name = canonicalize_name(requirement.name)
        distribution = _find_distribution(name)
        needed[name] = distribution.version if distribution else None
        for extra in ("", *sorted(requirement.extras)):
            if distribution and (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(Requirement(line), extra) for line in distribution.requires or ()]
    return needed


def read_lock(lock: Path) -> dict[str, str]:
    """The locked version by name, of what this machine and Python take."""
    locked: dict[str, str] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            if not requirement.marker or requirement.marker.evaluate():
                locked[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    return locked


def _departing(needed: dict[str, str | None], locked: dict[str, str]) -> Iterable[tuple[str, str]]:
    return ((name, found) for name, found in needed.items() if found and locked.get(name, found) != found)


def _find_distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
