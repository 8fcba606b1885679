"""Find schedules on a platform by name or id, and refuse those that others created."""

from collections.abc import Iterable

from components.mnist.errors import SettingError, suggest
from pipelines.platforms.base import Existing


def find_schedules(name: str, profile: str, existing: Iterable[Existing]) -> list[Existing]:
    """Find the schedules of a profile with a name, or an id.

    Returns:
        At least one; several if an apply was interrupted.

    Raises:
        SettingError: There is none, or others created it.
    """
    existing = list(existing)
    own = [each for each in existing if each.mark and each.mark.profile == profile]
    if found := [each for each in own if name_of(each) == name] or [each for each in own if each.id == name]:
        return found
    for each in existing:
        if name in (each.id, name_of(each)):
            owner = f"belongs to profile {each.mark.profile}" if each.mark else "was not created by this command"
            raise SettingError(f"{name}: {owner}, so [{profile}] does not change it. Change it where it was created.")
    names = sorted({name_of(each) for each in own})
    hint = suggest(name, names, otherwise=f"expected one of {', '.join(names)}." if names else "it has none.")
    raise SettingError(f"{name}: [{profile}] has no such schedule on the platform; {hint}")


def find_schedule(name: str, profile: str, existing: Iterable[Existing]) -> Existing:
    """Find the one schedule of a profile with a name, or an id.

    Raises:
        SettingError: There is none, there are several, or others created it.
    """
    found = find_schedules(name, profile, existing)
    if len(found) > 1:
        ids = ", ".join(each.id for each in found)
        raise SettingError(
            f"{name}: exists {len(found)} times ({ids}), left by an interrupted apply. To finish it: mnist schedule "
            f"apply --on {profile}"
        )
    return found[0]


def name_of(existing: Existing) -> str:
    """Return a schedule's name in the file, or its title if others created it."""
    return existing.mark.name if existing.mark else existing.title
