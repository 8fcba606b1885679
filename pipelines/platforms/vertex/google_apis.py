"""Ask Google's REST APIs what they know, with the credentials at hand; every call changes nothing.

For the APIs that tell of machines, quotas and permissions, whose own clients would be installed for this alone.
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
PAGES = 20  # of one list; more would take too long to wait for

AIPLATFORM = "https://aiplatform.googleapis.com"
COMPUTE = "https://compute.googleapis.com"
IAM = "https://iam.googleapis.com"
IAM_CREDENTIALS = "https://iamcredentials.googleapis.com"
PROJECTS = "https://cloudresourcemanager.googleapis.com"
QUOTAS = "https://serviceusage.googleapis.com"
STORAGE = "https://storage.googleapis.com"


class Google:
    """Google's APIs, asked in the name of who signed in.

    Args:
        project: To name in the commands that enable an API.
    """

    def __init__(self, credentials: Credentials, *, project: str) -> None:
        self._session = AuthorizedSession(credentials)
        self._project = project

    def get(self, url: str, parameters: Mapping[str, str | Sequence[str]] | None = None) -> dict[str, Any] | None:
        """Read one thing; None when it is not there.

        Raises:
            NotCheckedError: The API does not say.
        """
        return self._ask("GET", url, params=parameters)

    def pages(self, url: str, parameters: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Read a list page by page; nothing when what holds it is not there.

        Raises:
            NotCheckedError: The API does not say.
        """
        token: str | None = ""
        for _ in range(PAGES):
            page = self._ask("GET", url, params={**(parameters or {}), **({"pageToken": token} if token else {})})
            if page:
                yield page
            if not (token := (page or {}).get("nextPageToken")):
                return

    def find_missing(self, url: str, wanted: Sequence[str]) -> list[str] | None:
        """Which permissions on a resource are lacking; None when the resource is not there.

        Args:
            url: Of the resource's method testIamPermissions.

        Raises:
            NotCheckedError: The API does not say.
        """
        answer = self._ask("POST", url, json={"permissions": list(wanted)})
        return None if answer is None else [each for each in wanted if each not in answer.get("permissions", ())]

    def act_as(self, account: str) -> "Google":
        """The same APIs, asked for five minutes in the name of a service account.

        Raises:
            NotCheckedError: Who signed in may not act as it.
        """
        url = f"{IAM_CREDENTIALS}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        answer = self._ask("POST", url, json={"scope": CLOUD, "lifetime": "300s"})
        if answer is None:
            raise NotCheckedError(f"there is no {account}.")
        return Google(oauth2.Credentials(token=answer["accessToken"]), project=self._project)

    def _ask(self, method: str, url: str, **words: Any) -> dict[str, Any] | None:
        host = url.split("/")[2]
        try:
            # The session would otherwise wait for minutes to renew a token.
            answer = self._session.request(
                method, url, timeout=ANSWER_SECONDS, max_allowed_time=2 * ANSWER_SECONDS, **words
            )
        except GoogleAuthError as error:
            raise NotCheckedError(f"signing in for {host} failed ({type(error).__name__}).") from None
        except requests.RequestException as error:
            raise NotCheckedError(f"{host} cannot be reached ({find_cause(error)}).") from None
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        content = _read(answer)
        if not answer.ok:
            raise NotCheckedError(self._explain(host, answer.status_code, content))
        return content

    def _explain(self, host: str, status: int, content: Mapping[str, Any]) -> str:
        error = content.get("error") or {}
        details = error.get("details") or [] if isinstance(error, dict) else []
        info: dict[str, Any] = next((each for each in details if "reason" in each), {})
        if info.get("reason") == "SERVICE_DISABLED":
            service = (info.get("metadata") or {}).get("service", host)
            return (
                f"{service} is not enabled in {self._project}, and a run does not need it; to have this checked: "
                f"gcloud services enable {service} --project {self._project}"
            )
        if status == HTTPStatus.FORBIDDEN:
            lacking = (info.get("metadata") or {}).get("permission", "")
            return f"{host} does not tell these credentials" + (f" without {lacking}." if lacking else ".")
        words = " ".join(str(error.get("message", "") if isinstance(error, dict) else error).split())[:200].rstrip(".")
        return f"{host} answers {status}" + (f" ({words})." if words else ".")


def _read(answer: requests.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except requests.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
