"""The ways to sign in to a Kubeflow host: from `sign_in` in `mnist.toml` to the headers of a request.

Signing in on Dex's page is in `dex.py`.
Secrets are read when they are needed, since files and variables change, and go nowhere but into headers.
"""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google.auth
from google.auth import impersonated_credentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from components.mnist.errors import mask_tokens
from pipelines.platforms.base import SignInError, TransientError
from pipelines.platforms.kubeflow.credentials import IapSignIn

TOKEN = re.compile(r"[\x21-\x7e]+")  # what a header can carry: neither spaces nor a second line
GOOGLE_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
GOOGLE_SECONDS = 30.0
SHORTEST_HIDDEN = 6  # characters; shorter pieces of a cookie are no secret, and would tear words apart
LONGEST_REASON = 300  # characters of Google's own words that are repeated
NO_TOKEN = (
    "A person's credentials never get one: name a service account in sign_in.service_account that may pass the proxy, "
    "and on which you have the role Service Account Token Creator. Or name the file of a service account's key in "
    "GOOGLE_APPLICATION_CREDENTIALS; is that key still valid?"
)
NO_TOKEN_FOR_ACCOUNT = (
    "Sign in again (gcloud auth application-default login). You need the role Service Account Token Creator on the "
    "account: gcloud iam service-accounts add-iam-policy-binding {account} "
    "--role=roles/iam.serviceAccountTokenCreator --member=user:EMAIL"
)


class Access:
    """A way to sign in; this one shows no credentials.

    Attributes:
        advice: What a person does when the host refuses it.
    """

    advice = 'The profile has sign_in = { method = "none" }: choose how to sign in, see mnist.example.toml.'

    def headers(self) -> dict[str, str]:
        """Make the headers that sign the next request.

        Raises:
            SignInError: The credentials are missing, empty, wrong or expired.
            TransientError: The server that gives out sessions or tokens can't be reached.
        """
        return {}

    def renew(self) -> bool:
        """Give up what the host refused; returns whether there are other credentials now."""
        return False


class Token(Access):
    """A bearer token from a file or an environment variable, read again for each request."""

    def __init__(self, *, file: str | None, variable: str | None, advice: str) -> None:
        self.advice = advice
        self._file = file
        self._variable = variable
        self._shown: dict[str, str] = {}

    def headers(self) -> dict[str, str]:
        """Read the token as it is now."""
        token = read_secret("token", file=self._file, variable=self._variable).strip()
        if not TOKEN.fullmatch(token):
            source = f"environment variable {self._variable}" if self._variable else f"file {self._file}"
            raise SignInError(
                f"sign_in: the {source} holds no token, which has neither spaces nor line breaks. {self.advice}"
            )
        self._shown = {"Authorization": f"Bearer {token}"}
        return self._shown

    def renew(self) -> bool:
        """Whether the file has another token meanwhile."""
        refused = self._shown
        return self.headers() != refused


class Iap(Access):
    """Google's ID token for Identity-Aware Proxy, renewed before it expires."""

    def __init__(self, sign_in: IapSignIn) -> None:
        self.advice = (
            f"Is client_id {sign_in.client_id} that of the proxy, and has the account the role IAP-secured Web App "
            "User (roles/iap.httpsResourceAccessor)?"
        )
        self._sign_in = sign_in
        self._credentials: Any = None

    def headers(self) -> dict[str, str]:
        """Make the header, with a new token when the last is about to expire."""
        request = functools.partial(Request(), timeout=GOOGLE_SECONDS)
        try:
            if self._credentials is None:
                self._credentials = self._find(request)
            if not self._credentials.valid:
                self._credentials.refresh(request)
        except TransportError as error:
            raise TransientError(f"sign_in: Google cannot be reached ({_reason(error)}). Check the network.") from None
        except (GoogleAuthError, ValueError) as error:
            account = self._sign_in.service_account
            start = f"sign_in: Google gives no token for {account or 'Identity-Aware Proxy'} ({_reason(error)})."
            advice = NO_TOKEN_FOR_ACCOUNT.format(account=account) if account else NO_TOKEN
            raise SignInError(f"{start} {advice}") from None
        return {"Authorization": f"Bearer {self._credentials.token}"}

    def renew(self) -> bool:
        """A new token can always be asked for."""
        self._credentials = None
        return True

    def _find(self, request: Any) -> Any:
        if not self._sign_in.service_account:
            return id_token.fetch_id_token_credentials(self._sign_in.client_id, request=request)
        source, _ = google.auth.default(scopes=GOOGLE_SCOPES)
        account = impersonated_credentials.Credentials(
            source_credentials=source, target_principal=self._sign_in.service_account, target_scopes=GOOGLE_SCOPES
        )
        return impersonated_credentials.IDTokenCredentials(
            account, target_audience=self._sign_in.client_id, include_email=True
        )


def _reason(error: Exception) -> str:
    # The first argument only: others may be what the sign-in server answered, with its secrets.
    line = " ".join(str(error.args[0] if error.args else type(error).__name__).split())
    return mask_tokens(line)[:LONGEST_REASON]


def read_secret(what: str, *, file: str | None, variable: str | None) -> str:
    """Read a secret from a file or an environment variable, exactly one of them, without line breaks around it.

    Args:
        what: For the message: "token", "password".

    Raises:
        SignInError: It is missing, empty or cannot be read; the message names the file or variable, never the content.
    """
    source = f"the environment variable {variable}" if variable else str(Path(file or "").expanduser())
    remedy = f"Set it: export {variable}=..." if variable else f"Put the {what} there, or correct the profile."
    trouble = "is empty"
    try:
        secret = os.environ[variable] if variable else Path(source).read_text(encoding="utf-8")
        if secret.strip():
            return secret.strip("\r\n")
    except KeyError:
        trouble = "is not set"
    except OSError as error:
        trouble = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        trouble = "holds no text"
    raise SignInError(f"sign_in: the {what} is read from {source}, which {trouble}. {remedy}")


def hide(text: str, headers: Mapping[str, str]) -> str:
    """Mask the credentials of a request, and whatever looks like a token, in case an answer repeats them.

    Args:
        headers: Of the request, as an `Access` made them.
    """
    cookies = [pair.partition("=")[2] for pair in headers.get("Cookie", "").split("; ")]
    pieces = [headers.get("Authorization", "").removeprefix("Bearer "), *cookies]
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= SHORTEST_HIDDEN:
            text = text.replace(piece, "...")
    return mask_tokens(text)
