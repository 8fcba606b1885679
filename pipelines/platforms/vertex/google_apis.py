"""Read machines, quotas and permissions from Google's REST APIs, with the user's credentials; every call only reads.

The client libraries are not worth installing for these few calls.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import requests
from google.api_core import exceptions
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import credentials as oauth2

from components.mnist.storage.causes import find_cause
from pipelines.checks import NotCheckedError
from pipelines.platforms.vertex.connection import SCOPES

ANSWER_SECONDS = 8.0
PAGES = 20  # at most, of one list: a check must end soon
LONGEST_ANSWER = 300  # characters of the address and Google's message that are quoted

AIPLATFORM = "https://aiplatform.googleapis.com"
COMPUTE = "https://compute.googleapis.com"
IAM = "https://iam.googleapis.com"
IAM_CREDENTIALS = "https://iamcredentials.googleapis.com"
PROJECTS = "https://cloudresourcemanager.googleapis.com"
QUOTAS = "https://serviceusage.googleapis.com"
STORAGE = "https://storage.googleapis.com"


class Google:
    """A client of Google's APIs.

    Every method raises NotCheckedError if an API cannot be reached or refuses to answer.

    Args:
        project: The project in the commands that enable an API.
    """

    def __init__(self, credentials: Credentials, *, project: str) -> None:
        self._session = AuthorizedSession(credentials)
        self._project = project

    def ask(
        self, url: str, query: Mapping[str, str | Sequence[str]] | None = None, *, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Read a resource, or call a method that only reads; None if the resource is missing.

        Args:
            body: The argument of a method; None for a resource.

        Raises:
            NotCheckedError: The API cannot be reached or refuses to answer.
        """
        host = url.split("/")[2]
        try:
            # Without a limit, the session would try for minutes to refresh a token.
            answer = self._session.request(
                "POST" if body else "GET",
                url,
                params=query,
                json=body,
                timeout=ANSWER_SECONDS,
                max_allowed_time=2 * ANSWER_SECONDS,
            )
            if answer.ok:
                return dict(answer.json())
        except GoogleAuthError as error:
            raise NotCheckedError(f"signing in for {host} failed ({type(error).__name__}).") from None
        except requests.RequestException as error:
            raise NotCheckedError(f"{host} cannot be reached ({find_cause(error)}).") from None
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        refusal = exceptions.from_http_response(answer)
        metadata = refusal.metadata or {}
        if refusal.reason == "SERVICE_DISABLED":
            service = metadata.get("service", host)
            raise NotCheckedError(
                f"{service} is not enabled in {self._project}, and a run does not need it; to have this checked: "
                f"gcloud services enable {service} --project {self._project}"
            )
        if isinstance(refusal, exceptions.Forbidden):
            lacking = f", which lack {metadata['permission']}" if "permission" in metadata else ""
            raise NotCheckedError(f"{host} refuses these credentials{lacking}.")
        words = textwrap.shorten(str(refusal.message), LONGEST_ANSWER, placeholder="...")
        raise NotCheckedError(f"{host} answers {answer.status_code} ({words}).")

    def pages(self, url: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Read a list page by page; one empty page if the resource is missing.

        Raises:
            NotCheckedError: The API cannot be reached or refuses to answer.
        """
        token: dict[str, str] = {}
        for _ in range(PAGES):
            page = self.ask(url, {**query, **token}) or {}
            yield page
            if not page.get("nextPageToken"):
                return
            token = {"pageToken": page["nextPageToken"]}

    def find_missing(self, url: str, permissions: Sequence[str]) -> list[str] | None:
        """Return the missing permissions on a resource; None if the resource is missing.

        Args:
            url: The address of the resource's method testIamPermissions.

        Raises:
            NotCheckedError: The API cannot be reached or refuses to answer.
        """
        answer = self.ask(url, body={"permissions": list(permissions)})
        return None if answer is None else [each for each in permissions if each not in answer.get("permissions", ())]

    def act_as(self, account: str) -> "Google":
        """Return a client that impersonates a service account for five minutes.

        Raises:
            NotCheckedError: The user may not impersonate it.
        """
        url = f"{IAM_CREDENTIALS}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        if (answer := self.ask(url, body={"scope": SCOPES, "lifetime": "300s"})) is None:
            raise NotCheckedError(f"there is no {account}.")
        return Google(oauth2.Credentials(token=answer["accessToken"]), project=self._project)
