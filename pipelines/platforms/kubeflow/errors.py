"""What a Kubeflow host's answers mean: each as a class of `pipelines/platforms/base.py`, in plain words."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pipelines.platforms.base import (
    ConflictError,
    DeniedError,
    MissingError,
    PlatformError,
    SignInError,
    TransientError,
)
from pipelines.platforms.kubeflow.credentials import IapSignIn, NoSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile

LONGEST_ANSWER = 500  # characters of the host's own words that are repeated
LONGEST_WAIT_SECONDS = 30.0  # that a host may ask for between two tries
# Kubeflow Pipelines wraps some refusals of what was sent in 500, which no later try would change.
REFUSED = re.compile(r"invalid ?input ?error", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """Of a host, when it is not what was asked for.

    Attributes:
        headers: With lower-case names.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str

    @property
    def is_page(self) -> bool:
        """Whether it is for a browser, as login pages are."""
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:9].lower() in (
            "<!doctype",
            "<html>",
        )

    @property
    def wants_sign_in(self) -> bool:
        """Whether it says, or shows, that who asked is not signed in."""
        is_login = self.is_page and self.status in (200, 403)
        return self.status in (401, 302, 303, 307) or is_login

    @property
    def is_of_pipelines(self) -> bool:
        """Whether it has the form of Kubeflow Pipelines' API, not of something before it."""
        return _read_message(self.body) is not None

    @property
    def wait_seconds(self) -> float:
        """How long the host asks to wait (Retry-After); 0 when it does not."""
        text = self.headers.get("retry-after", "")
        if text.isdigit():
            return float(text)
        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return 0.0

    def __str__(self) -> str:
        """The answer in words, on one line."""
        words = "a web page" if self.is_page else " ".join((_read_message(self.body) or self.body).split())
        shown = words if len(words) <= LONGEST_ANSWER else f"{words[:LONGEST_ANSWER]}..."
        return f"it answered {self.status} {self.reason}".rstrip() + (f" ({shown})" if shown else "")


def explain(answer: Answer, start: str, *, profile: KubeflowProfile, advice: str, creates: bool) -> PlatformError:
    """What an answer comes down to.

    Args:
        start: Of the message: who could not do what.
        advice: What to do when the sign-in was refused.
        creates: Whether the request was to make something.
    """
    status = answer.status
    if answer.wants_sign_in:
        hint = _advise_host(profile) if answer.is_page else ""
        return SignInError(f"{start}: {answer}: not signed in, or the credentials have expired. {advice}{hint}")
    if 300 <= status < 400:
        moved = answer.headers.get("location", "").partition("?")[0] or "another address"
        return PlatformError(f"{start}: it answered {status}: moved to {moved}. Correct host in [{profile.name}].")
    if status == 403:
        return DeniedError(f"{start}: {answer}. {_advise_denied(answer, profile)}")
    if status == 404 and answer.is_of_pipelines:
        return MissingError(f"{start}: {answer}.")
    if status == 404:
        return PlatformError(f"{start}: {answer}, and not as Kubeflow Pipelines does.{_advise_host(profile)}")
    if status == 409:
        return ConflictError(f"{start}: {answer}.")
    if status == 429 or (status >= 500 and status != 501):
        return _explain_passing(answer, start, creates=creates)
    if 200 <= status < 300:
        return PlatformError(
            f"{start}: {answer}, which is not what its API v2beta1 answers. Does client fit server? mnist doctor --on "
            f"{profile.name}",
            may_have_happened=creates,
        )
    return PlatformError(f"{start}: {answer}. Correct what it names in [{profile.name}] of mnist.toml.")


def _explain_passing(answer: Answer, start: str, *, creates: bool) -> PlatformError:
    if answer.status == 500 and REFUSED.search(answer.body):
        return PlatformError(f"{start}: {answer}.")
    # 429 comes before anything is done.
    creates = creates and answer.status != 429
    if answer.wait_seconds > LONGEST_WAIT_SECONDS:
        return PlatformError(
            f"{start}: {answer} and asks for {answer.wait_seconds:.0f} seconds of patience. Repeat the command then.",
            may_have_happened=creates,
        )
    return TransientError(f"{start}: {answer}. Try later.", may_have_happened=creates)


def _advise_host(profile: KubeflowProfile) -> str:
    return f" Is host of [{profile.name}] right? On a whole Kubeflow it ends with /pipeline."


def _advise_denied(answer: Answer, profile: KubeflowProfile) -> str:
    if isinstance(profile.sign_in, IapSignIn) and not answer.is_of_pipelines:
        account = profile.sign_in.service_account or "the account that signs in"
        return (
            f"So says what stands before Kubeflow Pipelines: let Identity-Aware Proxy's administrator give {account} "
            "the role IAP-secured Web App User (roles/iap.httpsResourceAccessor)."
        )
    if isinstance(profile.sign_in, NoSignIn):
        return f"[{profile.name}] signs in as nobody: choose sign_in, see mnist.example.toml."
    if profile.namespace:
        return (
            f"Ask the owner of the namespace {profile.namespace} to add you as a contributor (Manage Contributors on "
            "Kubeflow's page), or correct namespace in the profile."
        )
    return "Ask its administrator; a Kubeflow with profiles also needs namespace in the profile."


def _read_message(body: str) -> str | None:
    """Kubeflow Pipelines' own words; None when something else answered."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    message = content.get("message") or content.get("error")
    return message if isinstance(message, str) else None
