"""A check, what it finds, and how checks are made one after the other.

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


class UntoldError(MnistError):
    """Raised by a check when nobody tells it; the words follow "because", and say how a person can look."""


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
        text: One line for a person: what was found and, unless all is well, the command or page that mends it.
    """

    verdict: Verdict
    text: str


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, found)


def warn(found: str, remedy: str) -> Finding:
    """A run goes well, but not as somebody may expect."""
    return Finding(Verdict.WARNING, f"{found} {remedy}")


def fail(found: str, remedy: str) -> Finding:
    """A run would fail."""
    return Finding(Verdict.FAILING, f"{found} {remedy}")


def skip(reason: str) -> Finding:
    """Nobody looked; `reason` also says how a person can look, where there is a way."""
    return Finding(Verdict.SKIPPED, f"because {reason}")


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: For a person; unique among the checks of one command.
        look: What it does; a MnistError that it raises is what it found, and failing.
        needs: Names of earlier checks without which this one has nothing to look at.
        seconds: After which it is given up.
    """

    name: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    seconds: float = LONGEST_SECONDS


def perform(check: Check, stand: dict[str, bool]) -> Finding:
    """Make one check; that it fails, hangs or breaks keeps only those from being made that need it.

    Args:
        stand: Whether what earlier checks looked at can be built on, by their names; this one is added.
    """
    lacking = [name for name in check.needs if not stand[name]]
    finding = skip(f"it needs {' and '.join(lacking)}, see above") if lacking else _look(check)
    # What nobody tells may well be there.
    stand[check.name] = not lacking and finding.verdict is not Verdict.FAILING
    return finding


def _look(check: Check) -> Finding:
    found: list[Finding] = []
    # A daemon, since what hangs in a system call cannot be stopped: the command ends without it.
    thread = threading.Thread(target=lambda: found.append(_try(check)), daemon=True)
    thread.start()
    thread.join(check.seconds)
    if found:
        return found[0]
    return fail(
        f"no answer within {check.seconds:g} seconds.", "Check the network, the proxy and a VPN, then look again."
    )


def _try(check: Check) -> Finding:
    try:
        return check.look()
    except UntoldError as error:
        return skip(str(error))
    except MnistError as error:
        return Finding(Verdict.FAILING, " ".join(str(error).split()))
    except Exception as error:
        # Its own words are left out: nobody knows whether they hold a secret.
        place = traceback.extract_tb(error.__traceback__)[-1]
        return fail(
            f"this check itself broke: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}.",
            "It says nothing about your machine: please report it.",
        )
