"""Translate Google's errors, by a table, to the classes of `pipelines/platforms/base.py`, with advice."""

import re
import textwrap
from dataclasses import dataclass

from google.api_core import exceptions
from google.auth import exceptions as auth

from components.mnist.errors import mask_tokens
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
ENABLE = "gcloud services enable aiplatform.googleapis.com --project {project}"
GRANT = "gcloud projects add-iam-policy-binding {project} --role={role} --member=user:EMAIL"
CONSOLE = "https://console.cloud.google.com"
STATUS_PAGE = "https://status.cloud.google.com"
LONGEST_ANSWER = 600  # characters of Google's message that are quoted

Cause = type[exceptions.GoogleAPICallError]


@dataclass(frozen=True)
class Row:
    """The translation of an error.

    Attributes:
        cause: The reason in Google's ErrorInfo, or classes of exceptions.
        text: The message, a format string. Its fields are the profile's `project`, `name`, `account` and `endpoint`,
            Google's message (`words`), the `answer` (with code, status and message), the missing `permission` and the
            `role` that has it.
        pattern: A pattern that Google's message must contain.
        may_have_happened: Whether Vertex AI may have executed the call nevertheless.
    """

    cause: str | Cause | tuple[Cause, ...]
    error: type[PlatformError]
    text: str
    pattern: str = ""
    may_have_happened: bool = False


UNKNOWN_HOST = Row(
    exceptions.ServiceUnavailable,
    TransientError,
    "no connection ({words}). Check the network, and the region of [{name}].",
    r"(?s)(?:errors resolving|DNS resolution failed).*(?:not found|not known)",
)
# gRPC's messages for requests that were never sent.
NOT_SENT = (
    "failed to connect to all addresses|connections to all backends failing|errors resolving|DNS resolution failed|"
    "empty address list"
)
PERMISSION = re.compile(r"(?<![\w./@-])[a-z]+\.(?!googleapis)[A-Za-z]+\.[A-Za-z]+")  # neither hosts nor accounts
ROLES = {
    "aiplatform": "roles/aiplatform.user",
    "serviceusage": "roles/serviceusage.serviceUsageConsumer",
    "storage": "roles/storage.objectUser",
}
# The first matching row counts: reasons are more specific than classes, and subclasses come before their bases.
ROWS = (
    Row("SERVICE_DISABLED", DeniedError, f"its API is not enabled in {{project}} ({{words}}). Enable it: {ENABLE}"),
    Row("CONSUMER_INVALID", DeniedError,
        "{answer}. Is {project} the id of the project, not its name, and may you see it? gcloud projects list shows "
        "the ids."),
    Row("BILLING_DISABLED", DeniedError,
        f"{{answer}}. Link a billing account: {CONSOLE}/billing/linkedaccount?project={{project}}"),
    Row(exceptions.Unauthorized, SignInError,
        f"{{answer}}. The credentials are wrong or have expired. Sign in again: {SIGN_IN}"),
    Row(exceptions.Forbidden, DeniedError,
        "{answer}. Starting runs requires the role Service Account User on the steps' account: gcloud iam "
        "service-accounts add-iam-policy-binding {account} --project={project} --role=roles/iam.serviceAccountUser "
        "--member=user:EMAIL",
        "act as|actAs"),
    Row(exceptions.Forbidden, DeniedError,
        "{answer}. Set the project to bill: gcloud auth application-default set-quota-project {project}",
        "quota project"),
    Row(exceptions.Forbidden, DeniedError, f"{{answer}}. Ask the project's owner for {{permission}}: {GRANT}"),
    Row(exceptions.NotFound, MissingError,
        "{answer}. Check the name, and project and region of [{name}]; a project that never used Vertex AI needs: "
        f"{ENABLE}"),
    Row(exceptions.TooManyRequests, TransientError,
        f"{{answer}}. Wait, or request more quota: {CONSOLE}/iam-admin/quotas?project={{project}}"),
    Row(exceptions.ServiceUnavailable, PlatformError,
        "the server's certificate is not trusted ({words}). Behind a proxy with its own certificates, set "
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH to their file.",
        "CERTIFICATE_VERIFY_FAILED"),
    UNKNOWN_HOST,
    Row(exceptions.ServiceUnavailable, TransientError, "no connection ({words}). Check the network.", NOT_SENT),
    Row(exceptions.ServiceUnavailable, TransientError,
        f"{{answer}}. Check the network, or try later: {STATUS_PAGE}", may_have_happened=True),
    Row(exceptions.DeadlineExceeded, TransientError,
        "no answer within the time limit. Check the network.", may_have_happened=True),
    Row(exceptions.MethodNotImplemented, PlatformError, "{answer}. Is {endpoint} Vertex AI's API?"),
    Row((exceptions.ServerError, exceptions.Aborted, exceptions.Cancelled), TransientError,
        f"{{answer}}. Try later: {STATUS_PAGE}", may_have_happened=True),
    Row((exceptions.Conflict, exceptions.FailedPrecondition), ConflictError, "{answer}."),
    Row(exceptions.BadRequest, PlatformError, "{answer}. Correct the value in [{name}] of mnist.toml."),
    Row(exceptions.GoogleAPICallError, PlatformError, "{answer}.", may_have_happened=True),
)  # fmt: skip


def explain(
    error: exceptions.GoogleAPICallError, profile: VertexProfile, *, asked: str, was_reached: bool
) -> PlatformError:
    """Translate the error of a failed call into a PlatformError.

    Args:
        asked: The purpose of the call: "start the run X".
        was_reached: Whether an earlier call was answered.

    Returns:
        An error with `may_have_happened` set if the platform may have executed the call.
    """
    message = str(error.message)  # without details and headers, which may repeat the request
    row = next(  # the last row matches every error
        row
        for row in ROWS
        if (row.cause == error.reason if isinstance(row.cause, str) else isinstance(error, row.cause))
        and re.search(row.pattern, message)
    )
    words = _shorten(message)
    status = error.grpc_status_code.name if error.grpc_status_code else type(error).__name__
    named = PERMISSION.search(message)
    permission = (error.metadata or {}).get("permission") or (named[0] if named else "")
    text = row.text.format(
        answer=f"it answered {f'{error.code} ' if error.code else ''}{status} ({words})",
        words=words,
        permission=permission or "the role",
        role=ROLES.get(permission.partition(".")[0], "ROLE") if permission else ROLES["aiplatform"],
        project=profile.project,
        name=profile.name,
        account=profile.service_account or "ACCOUNT",
        endpoint=profile.endpoint or "the endpoint",
    )
    # A host that has answered before is temporarily unreachable; one that has not is mistyped.
    kind = PlatformError if row is UNKNOWN_HOST and not was_reached else row.error
    return kind(f"{profile.title} could not {asked}: {text}", may_have_happened=row.may_have_happened)


def explain_sign_in(error: auth.GoogleAuthError, profile: VertexProfile, *, asked: str) -> PlatformError:
    """Translate the error of missing, broken or expired credentials; nothing was sent yet."""
    start = f"{profile.title} could not be asked to {asked}"
    # The first argument only: others may be the sign-in server's answer, which holds secrets.
    words = _shorten(str(error.args[0])) if error.args else type(error).__name__
    if isinstance(error, auth.DefaultCredentialsError):
        return SignInError(
            f"{start}: no Google credentials were found ({words}). Sign in: {SIGN_IN}, or set "
            "GOOGLE_APPLICATION_CREDENTIALS to a service account's file."
        )
    if isinstance(error, (auth.TransportError, auth.TimeoutError)) or error.retryable:
        return TransientError(f"{start}: Google's sign-in server cannot be reached ({words}). Check the network.")
    expired = re.search("expired|revoked|reauth", words, re.IGNORECASE)
    state = "have expired or were revoked" if expired else "were refused"
    return SignInError(f"{start}: the Google credentials {state} ({words}). Sign in again: {SIGN_IN}")


def _shorten(words: str) -> str:
    return textwrap.shorten(mask_tokens(words), LONGEST_ANSWER, placeholder="...")
