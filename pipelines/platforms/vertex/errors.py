"""What Google's refusals mean: its exceptions as the classes of `pipelines/platforms/base.py`, in plain words."""

import re
from collections.abc import Callable

from google.api_core import exceptions
from google.auth import exceptions as auth

from pipelines.platforms.base import (
    ConflictError,
    DeniedError,
    MissingError,
    PlatformError,
    SignInError,
    TransientError,
)
from pipelines.platforms.vertex.profile import VertexProfile

SIGN_IN = "gcloud auth application-default login"
LONGEST_ANSWER = 600  # characters of Google's own words that are repeated
# Google's tokens, and the signed claims for which it gives them: should an answer repeat one, it is not repeated here.
SECRET = re.compile(r"ya29\.[\w.-]+|1//[\w-]{20,}|eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
EXPIRED = re.compile("expired|revoked|reauth", re.IGNORECASE)
# gRPC says so when a request never left this machine.
NOT_SENT = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "errors resolving",
    "DNS resolution failed",
    "empty address list",
)
UNKNOWN_HOST = re.compile(r"(?:errors resolving|DNS resolution failed).*(?:not found|not known)", re.DOTALL)
ROLES = {
    "aiplatform.": "roles/aiplatform.user",
    "serviceusage.": "roles/serviceusage.serviceUsageConsumer",
    "storage.": "roles/storage.objectUser",
}

Kind = type[exceptions.GoogleAPICallError]
Explain = Callable[[exceptions.GoogleAPICallError, VertexProfile, str], PlatformError]


def explain(error: exceptions.GoogleAPICallError, profile: VertexProfile, *, asked: str) -> PlatformError:
    """What a failed call comes down to.

    Args:
        asked: What it was to do: "start the run X".

    Returns:
        The class that a caller can act on; `may_have_happened` where the platform may have done it all the same.
    """
    reason = error.reason or ""
    explanation = REASONS.get(reason) or next(
        (function for kind, function in KINDS if isinstance(error, kind)), _explain_unknown
    )
    return explanation(error, profile, f"{_place(profile)} could not {asked}")


def is_unknown_host(error: exceptions.GoogleAPICallError) -> bool:
    """Whether there is no such host: a mistyped region, or for now no network."""
    return isinstance(error, exceptions.ServiceUnavailable) and bool(UNKNOWN_HOST.search(str(error.message)))


def explain_sign_in(error: auth.GoogleAuthError, profile: VertexProfile, *, asked: str) -> PlatformError:
    """What missing, broken or expired credentials come down to; nothing was sent yet."""
    start = f"{_place(profile)} was not asked to {asked}"
    # Only the first argument is words; others may be an answer of the sign-in server, with what it holds.
    words = _one_line(str(error.args[0])) if error.args else type(error).__name__
    if isinstance(error, auth.DefaultCredentialsError):
        return SignInError(
            f"{start}: no Google credentials were found ({words}). Sign in: {SIGN_IN}, or name a service account's "
            "file in GOOGLE_APPLICATION_CREDENTIALS."
        )
    if isinstance(error, (auth.TransportError, auth.TimeoutError)) or error.retryable:
        return TransientError(f"{start}: Google's sign-in server cannot be reached ({words}). Check the network.")
    state = "have expired or were revoked" if EXPIRED.search(words) else "are not taken"
    return SignInError(f"{start}: the Google credentials {state} ({words}). Sign in again: {SIGN_IN}")


def _place(profile: VertexProfile) -> str:
    return f"Vertex AI ({profile.project}, {profile.region})"


def _one_line(words: str) -> str:
    line = " ".join(SECRET.sub("...", words).split())
    return line if len(line) <= LONGEST_ANSWER else f"{line[:LONGEST_ANSWER]}..."


def _answer(error: exceptions.GoogleAPICallError) -> str:
    """The answer with its code and Google's own words; neither details nor headers, which may repeat the request."""
    status = error.grpc_status_code.name if error.grpc_status_code else type(error).__name__
    return f"it answered {error.code or ''} {status} ({_one_line(str(error.message))})".replace("  ", " ")


def _explain_sign_in(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return SignInError(
        f"{start}: {_answer(error)}. The credentials are wrong or have expired. Sign in again: {SIGN_IN}"
    )


def _explain_denied(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return DeniedError(f"{start}: {_answer(error)}. {_advise_denied(error, profile)}")


def _advise_denied(error: exceptions.GoogleAPICallError, profile: VertexProfile) -> str:
    words = str(error.message)
    if "act as" in words or "actAs" in words:
        account = profile.service_account or "the project's default service account"
        return (
            f"Who starts runs needs the role Service Account User on {account}: gcloud iam service-accounts "
            f"add-iam-policy-binding {profile.service_account or 'ACCOUNT'} --project={profile.project} "
            "--role=roles/iam.serviceAccountUser --member=user:EMAIL"
        )
    if "quota project" in words:
        return f"Name the project that pays: gcloud auth application-default set-quota-project {profile.project}"
    named = re.search(r"[a-z]+\.[A-Za-z]+\.[A-Za-z]+", words)
    permission = (error.metadata or {}).get("permission") or (named[0] if named else "")
    role = next((role for start, role in ROLES.items() if permission.startswith(start)), "")
    if permission and not role:
        return f"Missing is the permission {permission}: ask the project's owner for a role with it."
    missing = f"Missing is the permission {permission}. " if permission else ""
    return (
        f"{missing}Ask the project's owner: gcloud projects add-iam-policy-binding {profile.project} "
        f"--role={role or ROLES['aiplatform.']} --member=user:EMAIL"
    )


def _explain_disabled(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return DeniedError(
        f"{start}: its API is not enabled in {profile.project} ({_one_line(str(error.message))}). Enable it: "
        f"{_enable(profile)}"
    )


def _explain_no_project(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return DeniedError(
        f"{start}: {_answer(error)}. Is {profile.project} the id of the project, not its name, and may you see it? "
        "gcloud projects list shows the ids."
    )


def _explain_unpaid(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return DeniedError(
        f"{start}: {_answer(error)}. Link a billing account: "
        f"https://console.cloud.google.com/billing/linkedaccount?project={profile.project}"
    )


def _explain_missing(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return MissingError(
        f"{start}: {_answer(error)}. Check the name, and project and region of [{profile.name}]; a project that never "
        f"used Vertex AI needs: {_enable(profile)}"
    )


def _enable(profile: VertexProfile) -> str:
    return f"gcloud services enable aiplatform.googleapis.com --project {profile.project}"


def _explain_conflict(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return ConflictError(f"{start}: {_answer(error)}.")


def _explain_quota(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return TransientError(
        f"{start}: {_answer(error)}. Wait, or ask for more: "
        f"https://console.cloud.google.com/iam-admin/quotas?project={profile.project}"
    )


def _explain_refused(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return PlatformError(f"{start}: {_answer(error)}. Correct what it names in [{profile.name}] of mnist.toml.")


def _explain_late(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return TransientError(f"{start}: no answer came in time. Check the network.", may_have_happened=True)


def _explain_unavailable(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    words = str(error.message)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return PlatformError(
            f"{start}: who answers has no certificate that is trusted ({_one_line(words)}). Behind a proxy with "
            "certificates of its own, name their file in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."
        )
    if any(sign in words for sign in NOT_SENT):
        region = f", and the region of [{profile.name}]" if is_unknown_host(error) else ""
        return TransientError(f"{start}: no connection ({_one_line(words)}). Check the network{region}.")
    return TransientError(
        f"{start}: {_answer(error)}. Check the network, or try later: https://status.cloud.google.com",
        may_have_happened=True,
    )


def _explain_broken(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return TransientError(
        f"{start}: {_answer(error)}. Try later: https://status.cloud.google.com", may_have_happened=True
    )


def _explain_unknown(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    return PlatformError(f"{start}: {_answer(error)}.", may_have_happened=True)


def _explain_other_api(error: exceptions.GoogleAPICallError, profile: VertexProfile, start: str) -> PlatformError:
    host = profile.endpoint or "the endpoint"
    return PlatformError(f"{start}: {_answer(error)}. Is {host} Vertex AI's API?")


# Google's ErrorInfo is more exact than the status beside it.
REASONS: dict[str, Explain] = {
    "SERVICE_DISABLED": _explain_disabled,
    "CONSUMER_INVALID": _explain_no_project,
    "BILLING_DISABLED": _explain_unpaid,
}
# Looked through in this order: some classes are special cases of later ones.
KINDS: tuple[tuple[Kind, Explain], ...] = (
    (exceptions.Unauthorized, _explain_sign_in),
    (exceptions.Forbidden, _explain_denied),
    (exceptions.NotFound, _explain_missing),
    (exceptions.Aborted, _explain_broken),
    (exceptions.Conflict, _explain_conflict),
    (exceptions.FailedPrecondition, _explain_conflict),
    (exceptions.BadRequest, _explain_refused),
    (exceptions.TooManyRequests, _explain_quota),
    (exceptions.DeadlineExceeded, _explain_late),
    (exceptions.MethodNotImplemented, _explain_other_api),
    (exceptions.ServiceUnavailable, _explain_unavailable),
    (exceptions.ServerError, _explain_broken),
    (exceptions.Cancelled, _explain_broken),
)
