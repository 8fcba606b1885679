"""Compare the installed packages with the lock, without importing them."""

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
SHOWN = 3


def check_packages(extras: Iterable[str]) -> Finding:
    """Whether all packages for these extras are installed in the locked versions."""
    root = container_images.ROOT
    if not (root / LOCK).is_file() or not (root / "pyproject.toml").is_file():
        return skip(f"{LOCK} is not beside this code, so the tested versions are unknown.")
    needed, locked = find_needed(extras), read_lock(root / LOCK)
    wrong = [
        f"{name} is {version}, locked {locked[name]}" if version else f"{name} is not installed"
        for name, version in needed.items()
        if version is None or locked.get(name, version) != version
    ]
    if not wrong:
        return ok(f"{len(needed)} installed, all in the versions of {LOCK}")
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return fail(f"{', '.join(wrong[:SHOWN])}{more}.", "Recreate the environment: make --always-make install")


def find_needed(extras: Iterable[str]) -> dict[str, str | None]:
    """Resolve the requirements of `pyproject.toml`, with some of its extras, recursively.

    Returns:
        Installed versions by name; None if a package is not installed.
    """
    project = tomllib.loads((container_images.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    needed: dict[str, str | None] = {}
    waiting = [(line, "") for line in lines]
    seen = set(waiting)
    while waiting:
        line, extra_of_parent = waiting.pop()
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name == PROJECT or (requirement.marker and not requirement.marker.evaluate({"extra": extra_of_parent})):
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            needed[name] = None
            continue
        needed[name] = distribution.version
        new = {(own, extra) for own in distribution.requires or () for extra in ("", *requirement.extras)} - seen
        seen |= new
        waiting += sorted(new)
    return needed


def read_lock(lock: Path) -> dict[str, str]:
    """Read the locked versions by name, of the packages for this machine and Python."""
    lines = [line.rstrip("\\ ") for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    return {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for requirement in map(Requirement, lines)
        if not requirement.marker or requirement.marker.evaluate()
    }
