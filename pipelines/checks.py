"""Checks and their findings, for `mnist doctor`.

Knows nothing of the subjects of checks. A check changes nothing, shows no secret, and ends within its time.
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
    """Raised when a check cannot be made. The message completes "because ..." and says how the user can check."""


class Verdict(StrEnum):
    """The outcome of a check, as the command prints it."""

    OK = "ok"
    WARNING = "warning"
    FAILING = "failing"
    SKIPPED = "not checked"


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        text: One line for the user: the facts and, unless all is well, a command or page to fix the problem.
    """

    verdict: Verdict
    text: str


def ok(found: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(Verdict.OK, found)


def warn(found: str, remedy: str) -> Finding:
    """Return the finding that a run works, but perhaps not as expected."""
    return Finding(Verdict.WARNING, f"{found} {remedy}")


def fail(found: str, remedy: str) -> Finding:
    """Return the finding that a run would fail."""
    return Finding(Verdict.FAILING, f"{found} {remedy}")


def skip(reason: str) -> Finding:
    """Return the finding that the check was not made; `reason` also says how the user can check, if possible."""
    return Finding(Verdict.SKIPPED, f"because {reason}")


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Shown to the user; unique among the checks of one command.
        look: Makes the check; a MnistError that it raises becomes a failing finding.
        needs: Names of earlier checks that must pass first.
        seconds: Time limit; a check that exceeds it fails.
    """

    name: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    seconds: float = LONGEST_SECONDS


def perform(check: Check, passed: dict[str, bool]) -> Finding:
    """Make one check. If it fails, hangs or raises, only the checks that need it are skipped.

    Args:
        passed: Whether each earlier check passed, by name; this one is added.
    """
    found: list[Finding] = []
    if lacking := [name for name in check.needs if not passed[name]]:
        found.append(skip(f"it needs {' and '.join(lacking)}, see above"))
    else:
        # A daemon: a thread that hangs in a system call cannot be stopped, and must not block the command's end.
        thread = threading.Thread(target=lambda: found.append(_look(check)), daemon=True)
        thread.start()
        thread.join(check.seconds)
    late = f"no answer within {check.seconds:g} seconds."
    finding = found[0] if found else fail(late, "Check the network, the proxy and a VPN, then try again.")
    # A check that could not be made is no reason to skip the next.
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
        # Without the exception's message, which may hold a secret.
        line = traceback.extract_tb(error.__traceback__)[-1]
        return fail(
            f"the check itself failed: {type(error).__name__} in {Path(line.filename).name}, line {line.lineno}.",
            "It says nothing about your machine: please report it.",
        )
