"""The sign-in methods for a Kubeflow host: convert `sign_in` of `mnist.toml` to the headers of a request.

`dex.py` signs in on Dex's page. Secrets are read on demand, since files and variables change, and are used only in
headers.
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

TOKEN = re.compile(r"[\x21-\x7e]+")  # valid in a header: neither spaces nor line breaks
GOOGLE_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
GOOGLE_SECONDS = 30.0
SHORTEST_HIDDEN = 6  # characters; shorter parts of a cookie are no secrets, and hiding them would mangle words
LONGEST_REASON = 300  # characters of Google's message that are quoted
NO_TOKEN = (
    "A user's credentials never get one: set sign_in.service_account to a service account with access to the proxy, on "
    "which you have the role Service Account Token Creator. Or set GOOGLE_APPLICATION_CREDENTIALS to the file of a "
    "service account's key; is that key still valid?"
)
NO_TOKEN_FOR_ACCOUNT = (
    "Sign in again (gcloud auth application-default login). You need the role Service Account Token Creator on the "
    "account: gcloud iam service-accounts add-iam-policy-binding {account} "
    "--role=roles/iam.serviceAccountTokenCreator --member=user:EMAIL"
)


class Access:
    """A sign-in method; this base class sends no credentials.

    Attributes:
        advice: Advice for the user if the host refuses the credentials.
    """

    advice = 'The profile has sign_in = { method = "none" }: choose a sign-in method, see mnist.example.toml.'

    def headers(self) -> dict[str, str]:
        """Return the headers that sign the next request.

        Raises:
            SignInError: The credentials are missing, empty, wrong or expired.
            TransientError: The server of the sessions or tokens cannot be reached.
        """
        return {}

    def renew(self) -> bool:
        """Discard refused credentials; return whether there are new ones."""
        return False


class Token(Access):
    """A bearer token from a file or an environment variable, read again for each request."""

    def __init__(self, *, file: str | None, variable: str | None, advice: str) -> None:
        self.advice = advice
        self._file = file
        self._variable = variable
        self._shown: dict[str, str] = {}

    def headers(self) -> dict[str, str]:
        """Read the current token and return its header."""
        token = read_secret("token", file=self._file, variable=self._variable).strip()
        if not TOKEN.fullmatch(token):
            source = f"environment variable {self._variable}" if self._variable else f"file {self._file}"
            raise SignInError(
                f"sign_in: the {source} holds no token, which has neither spaces nor line breaks. {self.advice}"
            )
        self._shown = {"Authorization": f"Bearer {token}"}
        return self._shown

    def renew(self) -> bool:
        """Return whether the file or variable has a new token."""
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
        """Return the header, with a new token if the last is about to expire."""
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
            start = f"sign_in: Google issued no token for {account or 'Identity-Aware Proxy'} ({_reason(error)})."
            advice = NO_TOKEN_FOR_ACCOUNT.format(account=account) if account else NO_TOKEN
            raise SignInError(f"{start} {advice}") from None
        return {"Authorization": f"Bearer {self._credentials.token}"}

    def renew(self) -> bool:
        """Discard the token; a new one can always be requested."""
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
    # The first argument only: others may be the sign-in server's answer, which holds secrets.
    line = " ".join(str(error.args[0] if error.args else type(error).__name__).split())
    return mask_tokens(line)[:LONGEST_REASON]


def read_secret(what: str, *, file: str | None, variable: str | None) -> str:
    """Read a secret from a file or an environment variable, exactly one of them, without surrounding line breaks.

    Args:
        what: The kind of secret, for the message: "token", "password".

    Raises:
        SignInError: It is missing, empty or cannot be read; the message names the file or variable, never the content.
    """
    source = f"the environment variable {variable}" if variable else str(Path(file or "").expanduser())
    remedy = f"Set it: export {variable}=..." if variable else f"Put the {what} there, or correct the profile."
    problem = "is empty"
    try:
        secret = os.environ[variable] if variable else Path(source).read_text(encoding="utf-8")
        if secret.strip():
            return secret.strip("\r\n")
    except KeyError:
        problem = "is not set"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        problem = "is not text"
    raise SignInError(f"sign_in: the {what} is read from {source}, which {problem}. {remedy}")


def hide(text: str, headers: Mapping[str, str]) -> str:
    """Mask the credentials of a request, and anything that looks like a token, in case an answer repeats them.

    Args:
        headers: The headers of the request, from an `Access`.
    """
    cookies = [pair.partition("=")[2] for pair in headers.get("Cookie", "").split("; ")]
    pieces = [headers.get("Authorization", "").removeprefix("Bearer "), *cookies]
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= SHORTEST_HIDDEN:
            text = text.replace(piece, "...")
    return mask_tokens(text)
