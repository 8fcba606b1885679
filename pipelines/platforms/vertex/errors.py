"""What Google's errors mean: a table from them to the classes of `pipelines/platforms/base.py`, with advice."""

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
LONGEST_ANSWER = 600  # characters of Google's own words that are repeated

Cause = type[exceptions.GoogleAPICallError]


@dataclass(frozen=True)
class Row:
    """What an error is and what to do about it.

    Attributes:
        cause: The reason in Google's ErrorInfo, or classes of exceptions.
        text: The message. It may name the profile's `project`, `name`, `account` and `endpoint`, Google's own `words`,
            the `answer` (those with code and status), the missing `permission` and the `role` that has it.
        pattern: What Google's words must contain.
        may_have_happened: Whether Vertex AI may have carried out the call all the same.
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
# In these words gRPC says that a request never left this machine.
NOT_SENT = (
    "failed to connect to all addresses|connections to all backends failing|errors resolving|DNS resolution failed|"
    "empty address list"
)
PERMISSION = re.compile(r"(?<![\w./@-])[a-z]+\.(?!googleapis)[A-Za-z]+\.[A-Za-z]+")  # no host, no account
ROLES = {
    "aiplatform": "roles/aiplatform.user",
    "serviceusage": "roles/serviceusage.serviceUsageConsumer",
    "storage": "roles/storage.objectUser",
}
# The first row that fits counts: reasons are more exact than classes, and a class comes before those it derives from.
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
        "{answer}. Whoever starts runs needs the role Service Account User on the steps' account: gcloud iam "
        "service-accounts add-iam-policy-binding {account} --project={project} --role=roles/iam.serviceAccountUser "
        "--member=user:EMAIL",
        "act as|actAs"),
    Row(exceptions.Forbidden, DeniedError,
        "{answer}. Name the project that pays: gcloud auth application-default set-quota-project {project}",
        "quota project"),
    Row(exceptions.Forbidden, DeniedError, f"{{answer}}. Ask the project's owner for {{permission}}: {GRANT}"),
    Row(exceptions.NotFound, MissingError,
        "{answer}. Check the name, and project and region of [{name}]; a project that never used Vertex AI needs: "
        f"{ENABLE}"),
    Row(exceptions.TooManyRequests, TransientError,
        f"{{answer}}. Wait, or ask for more: {CONSOLE}/iam-admin/quotas?project={{project}}"),
    Row(exceptions.ServiceUnavailable, PlatformError,
        "the server's certificate is not trusted ({words}). Behind a proxy with certificates of its own, name their "
        "file in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH.",
        "CERTIFICATE_VERIFY_FAILED"),
    UNKNOWN_HOST,
    Row(exceptions.ServiceUnavailable, TransientError, "no connection ({words}). Check the network.", NOT_SENT),
    Row(exceptions.ServiceUnavailable, TransientError,
        f"{{answer}}. Check the network, or try later: {STATUS_PAGE}", may_have_happened=True),
    Row(exceptions.DeadlineExceeded, TransientError,
        "no answer came in time. Check the network.", may_have_happened=True),
    Row(exceptions.MethodNotImplemented, PlatformError, "{answer}. Is {endpoint} Vertex AI's API?"),
    Row((exceptions.ServerError, exceptions.Aborted, exceptions.Cancelled), TransientError,
        f"{{answer}}. Try later: {STATUS_PAGE}", may_have_happened=True),
    Row((exceptions.Conflict, exceptions.FailedPrecondition), ConflictError, "{answer}."),
    Row(exceptions.BadRequest, PlatformError, "{answer}. Correct what it names in [{name}] of mnist.toml."),
    Row(exceptions.GoogleAPICallError, PlatformError, "{answer}.", may_have_happened=True),
)  # fmt: skip


def explain(
    error: exceptions.GoogleAPICallError, profile: VertexProfile, *, asked: str, was_reached: bool
) -> PlatformError:
    """Translate the error of a failed call.

    Args:
        asked: What it was to do: "start the run X".
        was_reached: Whether an earlier call was answered.

    Returns:
        The class that a caller can act on; `may_have_happened` where the platform may have done it all the same.
    """
    message = str(error.message)  # neither details nor headers, which may repeat the request
    row = next(  # the last fits every error
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
    # A host that answered before comes back with the network; one that never did is mistyped.
    kind = PlatformError if row is UNKNOWN_HOST and not was_reached else row.error
    return kind(f"{profile.title} could not {asked}: {text}", may_have_happened=row.may_have_happened)


def explain_sign_in(error: auth.GoogleAuthError, profile: VertexProfile, *, asked: str) -> PlatformError:
    """Translate the error of missing, broken or expired credentials; nothing was sent yet."""
    start = f"{profile.title} was not asked to {asked}"
    # Only the first argument is words; others may be an answer of the sign-in server, with what it holds.
    words = _shorten(str(error.args[0])) if error.args else type(error).__name__
    if isinstance(error, auth.DefaultCredentialsError):
        return SignInError(
            f"{start}: no Google credentials were found ({words}). Sign in: {SIGN_IN}, or name a service account's "
            "file in GOOGLE_APPLICATION_CREDENTIALS."
        )
    if isinstance(error, (auth.TransportError, auth.TimeoutError)) or error.retryable:
        return TransientError(f"{start}: Google's sign-in server cannot be reached ({words}). Check the network.")
    expired = re.search("expired|revoked|reauth", words, re.IGNORECASE)
    state = "have expired or were revoked" if expired else "were refused"
    return SignInError(f"{start}: the Google credentials {state} ({words}). Sign in again: {SIGN_IN}")


def _shorten(words: str) -> str:
    return textwrap.shorten(mask_tokens(words), LONGEST_ANSWER, placeholder="...")
