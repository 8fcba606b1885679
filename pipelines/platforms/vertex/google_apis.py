"""Read Google's REST APIs about machines, quotas and permissions, with the user's credentials; every call only reads.

Their own client libraries would be installed for these few calls alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import requests
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import credentials as oauth2

from components.mnist.storage.causes import find_cause
from pipelines.checks import NotCheckedError

CLOUD = ("https://www.googleapis.com/auth/cloud-platform",)
ANSWER_SECONDS = 8.0
PAGES = 20  # at most of one list: a check must end soon

AIPLATFORM = "https://aiplatform.googleapis.com"
COMPUTE = "https://compute.googleapis.com"
IAM = "https://iam.googleapis.com"
IAM_CREDENTIALS = "https://iamcredentials.googleapis.com"
PROJECTS = "https://cloudresourcemanager.googleapis.com"
QUOTAS = "https://serviceusage.googleapis.com"
STORAGE = "https://storage.googleapis.com"


class Google:
    """Google's APIs, asked in the name of whoever the credentials belong to.

    Every method raises NotCheckedError where an API cannot be reached or refuses to answer.

    Args:
        project: Named in the commands that enable an API.
    """

    def __init__(self, credentials: Credentials, *, project: str) -> None:
        self._session = AuthorizedSession(credentials)
        self._project = project

    def get(self, url: str, parameters: Mapping[str, str | Sequence[str]] | None = None) -> dict[str, Any] | None:
        """Read a resource; None when it is missing.

        Raises:
            NotCheckedError: The API does not say.
        """
        return self._ask("GET", url, params=parameters)

    def pages(self, url: str, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Read a list page by page; no page when what holds it is missing.

        Raises:
            NotCheckedError: The API does not say.
        """
        token = ""
        for _ in range(PAGES):
            page = self._ask("GET", url, params={**parameters, **({"pageToken": token} if token else {})}) or {}
            yield page
            if not (token := page.get("nextPageToken", "")):
                return

    def find_missing(self, url: str, permissions: Sequence[str]) -> list[str] | None:
        """Which permissions on a resource are missing; None when the resource is.

        Args:
            url: Of the resource's method testIamPermissions.

        Raises:
            NotCheckedError: The API does not say.
        """
        answer = self._ask("POST", url, json={"permissions": list(permissions)})
        return None if answer is None else [each for each in permissions if each not in answer.get("permissions", ())]

    def act_as(self, account: str) -> "Google":
        """The same APIs, asked in the name of a service account for five minutes.

        Raises:
            NotCheckedError: Who signed in may not act as it.
        """
        url = f"{IAM_CREDENTIALS}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        answer = self._ask("POST", url, json={"scope": CLOUD, "lifetime": "300s"})
        if answer is None:
            raise NotCheckedError(f"there is no {account}.")
        return Google(oauth2.Credentials(token=answer["accessToken"]), project=self._project)

    def _ask(self, method: str, url: str, **content: Any) -> dict[str, Any] | None:
        host = url.split("/")[2]
        try:
            # The session would otherwise wait for minutes to renew a token.
            answer = self._session.request(
                method, url, timeout=ANSWER_SECONDS, max_allowed_time=2 * ANSWER_SECONDS, **content
            )
        except GoogleAuthError as error:
            raise NotCheckedError(f"signing in for {host} failed ({type(error).__name__}).") from None
        except requests.RequestException as error:
            raise NotCheckedError(f"{host} cannot be reached ({find_cause(error)}).") from None
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        try:
            found = answer.json()
        except requests.JSONDecodeError:
            found = None
        found = found if isinstance(found, dict) else {}
        if not answer.ok:
            raise NotCheckedError(self._explain(host, answer.status_code, found.get("error") or {}))
        return found

    def _explain(self, host: str, status: int, error: Any) -> str:
        error = error if isinstance(error, dict) else {"message": error}
        info: dict[str, Any] = next((each for each in error.get("details") or () if "reason" in each), {})
        metadata = info.get("metadata") or {}
        if info.get("reason") == "SERVICE_DISABLED":
            service = metadata.get("service", host)
            return (
                f"{service} is not enabled in {self._project}, and a run does not need it; to have this checked: "
                f"gcloud services enable {service} --project {self._project}"
            )
        if status == HTTPStatus.FORBIDDEN:
            permission = metadata.get("permission")
            return f"{host} refuses these credentials" + (f", which lack {permission}." if permission else ".")
        words = " ".join(str(error.get("message", "")).split())[:200].rstrip(".")
        return f"{host} answers {status}" + (f" ({words})." if words else ".")
