"""A check, its finding, and how checks are made one after the other.

Knows nothing of what is checked. A check changes nothing, shows no secret, and ends within its time.
"""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from components.mnist.errors import MnistError

LONGEST_SECONDS = 15.0


class NotCheckedError(MnistError):
    """Raised by a check that cannot find out; the words follow "because", and say how a person can look."""


class Verdict(StrEnum):
    """How a check ended, in the words that the command prints."""

    OK = "ok"
    WARNING = "warning"
    FAILING = "failing"
    SKIPPED = "not checked"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        text: One line for a person: what was found and, unless all is well, the command or page that helps.
    """

    verdict: Verdict
    text: str


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, found)


def warn(found: str, remedy: str) -> Finding:
    """A run works, but not as a person may expect."""
    return Finding(Verdict.WARNING, f"{found} {remedy}")


def fail(found: str, remedy: str) -> Finding:
    """A run would fail."""
    return Finding(Verdict.FAILING, f"{found} {remedy}")


def skip(reason: str) -> Finding:
    """The check found nothing out; `reason` also says how a person can look, if there is a way."""
    return Finding(Verdict.SKIPPED, f"because {reason}")


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: For a person; unique among the checks of one command.
        look: Does it; a MnistError that it raises becomes a failing finding.
        needs: Names of earlier checks that must pass first.
        seconds: The check is given up after this time.
    """

    name: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    seconds: float = LONGEST_SECONDS


def perform(check: Check, passed: dict[str, bool]) -> Finding:
    """Make one check. If it fails, hangs or breaks, only the checks that need it are left out.

    Args:
        passed: Whether each earlier check passed, by name; this one is added.
    """
    found: list[Finding] = []
    if lacking := [name for name in check.needs if not passed[name]]:
        found.append(skip(f"it needs {' and '.join(lacking)}, see above"))
    else:
        # A daemon: a thread that hangs in a system call cannot be stopped, and must not keep the command from ending.
        thread = threading.Thread(target=lambda: found.append(_look(check)), daemon=True)
        thread.start()
        thread.join(check.seconds)
    late = f"no answer within {check.seconds:g} seconds."
    finding = found[0] if found else fail(late, "Check the network, the proxy and a VPN, then try again.")
    # A check that could not find out is no reason to leave out the next.
    passed[check.name] = not lacking and finding.verdict is not Verdict.FAILING
    return finding


def _look(check: Check) -> Finding:
    try:
        return check.look()
    except NotCheckedError as error:
        return skip(str(error))
    except MnistError as error:
        return Finding(Verdict.FAILING, " ".join(str(error).split()))
    except Exception as error:
        # Without its own words, which may hold a secret.
        line = traceback.extract_tb(error.__traceback__)[-1]
        return fail(
            f"this check itself broke: {type(error).__name__} in {Path(line.filename).name}, line {line.lineno}.",
            "It says nothing about your machine: please report it.",
        )
