"""Translate the answers of a Kubeflow host to the classes of `pipelines/platforms/base.py`, with advice."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

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

LONGEST_ANSWER = 500  # characters of the host's message that are quoted
LONGEST_WAIT_SECONDS = 30.0  # longest Retry-After that is obeyed
# Kubeflow Pipelines answers some invalid requests with 500: a retry is useless.
REFUSED = re.compile(r"invalid ?input ?error", re.IGNORECASE)


@dataclass(eq=False)
class AnswerError(Exception):
    """An unexpected answer of a host.

    Attributes:
        headers: With lower-case or case-insensitive names.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str

    @property
    def is_page(self) -> bool:
        """Whether the answer is an HTML page, such as a login page."""
        start = self.body.lstrip()[:9].lower()
        return "html" in self.headers.get("content-type", "") or start.startswith(("<!doctype", "<html>"))

    @property
    def wants_sign_in(self) -> bool:
        """Whether the answer means that the caller is not signed in."""
        return self.status in (401, 302, 303, 307) or (self.is_page and self.status in (200, 403))

    @property
    def message(self) -> str | None:
        """Message of Kubeflow Pipelines' API; None if a proxy or another server answered."""
        try:
            content = json.loads(self.body)
        except ValueError:
            return None
        message = (content.get("message") or content.get("error")) if isinstance(content, dict) else None
        return message if isinstance(message, str) else None

    @property
    def is_server_error(self) -> bool:
        """Whether the server, or a proxy before it, failed while processing the request."""
        return self.status >= 500 and self.status != 501 and not (self.status == 500 and REFUSED.search(self.body))

    @property
    def wait_seconds(self) -> float:
        """Seconds of the header Retry-After; 0 if there is none."""
        try:
            return float(Retry().parse_retry_after(self.headers.get("retry-after", "")))
        except InvalidHeader:
            return 0.0

    def __str__(self) -> str:
        """Format the answer on one line."""
        words = "a web page" if self.is_page else " ".join((self.message or self.body).split())
        shown = words if len(words) <= LONGEST_ANSWER else f"{words[:LONGEST_ANSWER]}..."
        return f"it answered {self.status} {self.reason}".rstrip() + (f" ({shown})" if shown else "")


def explain(answer: AnswerError, start: str, *, profile: KubeflowProfile, advice: str, creates: bool) -> PlatformError:
    """Translate an answer.

    Args:
        start: The start of the message: the host and the request.
        advice: Advice for a refused sign-in.
        creates: Whether the request creates something.
    """
    kind: type[PlatformError] = PlatformError
    on_host = f"Is host of [{profile.name}] right? On a full Kubeflow it ends with /pipeline."
    match answer.status:
        case _ if answer.wants_sign_in:
            kind, words = SignInError, f"{answer}: not signed in, or the credentials have expired. {advice}"
            words += f" {on_host}" if answer.is_page else ""
        case status if status < 300:
            advice = f"Does client fit server? mnist doctor --on {profile.name}"
            words = f"{answer}, which is not an answer of its API v2beta1. {advice}"
        case status if status < 400:
            address = answer.headers.get("location", "").partition("?")[0] or "another address"
            words = f"it answered {status}: moved to {address}. Correct host in [{profile.name}]."
        case 403:
            kind, words = DeniedError, f"{answer}. {_advise_denied(answer, profile)}"
        case 404 if answer.message is None:
            words = f"{answer}, so it is not Kubeflow Pipelines. {on_host}"
        case 404:
            kind, words = MissingError, f"{answer}."
        case 409:
            kind, words = ConflictError, f"{answer}."
        case status if status != 429 and not answer.is_server_error:
            words = f"{answer}. Correct the value in [{profile.name}] of mnist.toml."
        case _ if answer.wait_seconds > LONGEST_WAIT_SECONDS:
            words = f"{answer} and asks to wait {answer.wait_seconds:.0f} seconds. Repeat the command then."
        case _:
            kind, words = TransientError, f"{answer}. Try later."
    was_taken = answer.status < 300 or answer.is_server_error
    return kind(f"{start}: {words}", may_have_happened=creates and was_taken and kind is not SignInError)


def _advise_denied(answer: AnswerError, profile: KubeflowProfile) -> str:
    if isinstance(profile.sign_in, IapSignIn) and answer.message is None:
        account = profile.sign_in.service_account or "the account that signs in"
        return (
            f"Identity-Aware Proxy answered, not Kubeflow Pipelines: let its administrator give {account} the role "
            "IAP-secured Web App User (roles/iap.httpsResourceAccessor)."
        )
    if isinstance(profile.sign_in, NoSignIn):
        return f"[{profile.name}] does not sign in: set sign_in, see mnist.example.toml."
    if profile.namespace:
        return (
            f"Ask the owner of the namespace {profile.namespace} to add you as a contributor (Manage Contributors on "
            "Kubeflow's page), or correct namespace in the profile."
        )
    return "Ask its administrator; a Kubeflow with profiles also needs namespace in the profile."
