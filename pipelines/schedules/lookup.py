"""Find the schedules on a platform that a person names, and refuse those that others made."""

from collections.abc import Iterable

from components.mnist.errors import SettingError, suggest
from pipelines.platforms.base import Existing


def find_schedules(name: str, profile: str, existing: Iterable[Existing]) -> list[Existing]:
    """The schedules of a profile that have a name, or an id.

    Returns:
        At least one; several when an apply was interrupted.

    Raises:
        SettingError: None has it, or somebody else made the one that does.
    """
    existing = list(existing)
    own = [each for each in existing if each.mark and each.mark.profile == profile]
    if found := [each for each in own if name_of(each) == name] or [each for each in own if each.id == name]:
        return found
    for each in existing:
        if name in (each.id, name_of(each)):
            owner = f"belongs to profile {each.mark.profile}" if each.mark else "was not made by this command"
            raise SettingError(f"{name}: {owner}, so [{profile}] does not touch it. Change it where it was made.")
    names = sorted({name_of(each) for each in own})
    hint = suggest(name, names, otherwise=f"expected one of {', '.join(names)}." if names else "it has none at all.")
    raise SettingError(f"{name}: [{profile}] has no such schedule on the platform; {hint}")


def find_schedule(name: str, profile: str, existing: Iterable[Existing]) -> Existing:
    """The one schedule of a profile that has a name, or an id.

    Raises:
        SettingError: None has it, several do, or somebody else made it.
    """
    found = find_schedules(name, profile, existing)
    if len(found) > 1:
        ids = ", ".join(each.id for each in found)
        raise SettingError(
            f"{name}: exists {len(found)} times ({ids}), as an interrupted apply leaves it. Finish it: mnist schedule "
            f"apply --on {profile}"
        )
    return found[0]


def name_of(existing: Existing) -> str:
    """What a person calls it: its name in the file, or its title when somebody else made it."""
    return existing.mark.name if existing.mark else existing.title
