"""The connection to Kubeflow Pipelines' API v2beta1: the vendor's generated client with sign-in and error handling."""

import contextlib
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import kfp_server_api
from kfp_server_api.exceptions import ApiException
from urllib3.exceptions import HTTPError, SSLError

from pipelines.platforms import retrying
from pipelines.platforms.base import TransientError
from pipelines.platforms.kubeflow import errors, network
from pipelines.platforms.kubeflow.credentials import DexSignIn, IapSignIn, NoSignIn, ServiceAccountSignIn, TokenSignIn
from pipelines.platforms.kubeflow.dex import DexSession
from pipelines.platforms.kubeflow.errors import AnswerError
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.sign_in import Access, Iap, Token, hide

PAGE_SIZE = 100


def choose_access(profile: KubeflowProfile) -> Access:
    """Create the sign-in method of a profile; nothing is read or sent yet."""
    match profile.sign_in:
        case TokenSignIn(file=file, variable=variable):
            then = f", then: export {variable}=..." if variable else f" and put it into {file}."
            return Token(file=file, variable=variable, advice=f"Get a new token{then}")
        case ServiceAccountSignIn(file=file):
            advice = (
                f"The token in {file} is what Kubernetes mounts for the audience pipelines.kubeflow.org: does the pod "
                "have that volume, and may its service account use Kubeflow Pipelines in the namespace?"
            )
            return Token(file=file, variable=None, advice=advice)
        case DexSignIn():
            return DexSession(profile, profile.sign_in)
        case IapSignIn():
            return Iap(profile.sign_in)
        case NoSignIn():
            return Access()


class Connection(kfp_server_api.ApiClient):
    """A profile's connection, which signs each request and accepts only JSON answers.

    Attributes:
        runs, recurring_runs, experiments: The services of the API.
        access: The sign-in method.

    Raises:
        SettingError: The profile's `ca_file` cannot be read.
    """

    def __init__(self, profile: KubeflowProfile) -> None:
        super().__init__(kfp_server_api.Configuration(host=profile.host))
        self.rest_client.pool_manager = network.new_pool(profile)
        self.runs = kfp_server_api.RunServiceApi(self)
        self.recurring_runs = kfp_server_api.RecurringRunServiceApi(self)
        self.experiments = kfp_server_api.ExperimentServiceApi(self)
        self.access = choose_access(profile)
        self._profile = profile
        self._shown: dict[str, str] = {}  # the headers that signed the last request
        self._was_reached = False

    def send(self, method: Callable[..., Any], *args: object, asked: str, creates: bool = False, **query: Any) -> Any:
        """Send one request, and again after a new sign-in if the host refuses the session or token.

        Args:
            method: A method of one of the services.
            asked: The purpose of the request, for the message: "start the run X".
            creates: Whether it creates something, so that errors must report whether it may have been executed.

        Raises:
            PlatformError: The subclass depends on the cause.
        """
        start = f"{self._profile.title} could not {asked}"
        timeout = (network.CONNECT_SECONDS, network.ANSWER_SECONDS)
        request = functools.partial(method, *args, **query, _request_timeout=timeout)
        try:
            try:
                answer = request()
            except AnswerError as error:
                # Without a sign-in nothing was changed, so that a repetition is safe.
                if not error.wants_sign_in or not self.access.renew():
                    raise
                answer = request()
            self._was_reached = True
            return answer
        except HTTPError as error:
            explained = network.explain_silence(error, start, creates=creates)
            # A host that has answered before is temporarily unreachable; one that has not is mistyped.
            kind = TransientError if self._was_reached else type(explained)
        except AnswerError as error:
            self._was_reached = True
            explained = errors.explain(error, start, profile=self._profile, advice=self.access.advice, creates=creates)
            kind = type(explained)
            if kind is TransientError:
                time.sleep(error.wait_seconds)
        # Neither the request nor the headers of the answer belong in a traceback.
        raise kind(hide(str(explained), self._shown), may_have_happened=explained.may_have_happened) from None

    def ask(self, method: Callable[..., Any], *args: object, asked: str, **query: Any) -> Any:
        """Send an idempotent request; retry after transient errors.

        Raises:
            PlatformError: The subclass depends on the cause.
        """
        return retrying.call(lambda: self.send(method, *args, asked=asked, **query))

    def read_all(
        self, method: Callable[..., Any], field: str, *, asked: str, name: str = "", **query: Any
    ) -> list[Any]:
        """Read every page of a list, without retrying.

        Args:
            field: The field of the answer with the items.
            name: Only items with this display name are returned.

        Raises:
            PlatformError: The subclass depends on the cause.
        """
        if name:
            predicate = {"key": "display_name", "operation": "EQUALS", "stringValue": name}
            # The server decodes the query of the address twice.
            text = json.dumps({"predicates": [predicate]})
            query["filter"] = text.replace("%", "\\u0025").replace("+", "\\u002b")
        items: list[Any] = []
        token = ""
        while True:
            page = self.send(method, asked=asked, page_size=PAGE_SIZE, page_token=token, **query)
            items += getattr(page, field) or []
            token = page.next_page_token
            if not token:
                # Some versions compare names ignoring case.
                return [item for item in items if not name or item.display_name == name]

    def read(self, path: str, *, asked: str) -> Any:
        """Read the JSON at a path for which the generated client has no method, without retrying.

        Raises:
            PlatformError: The subclass depends on the cause.
        """
        accept = {"Accept": "application/json"}
        return self.send(self.call_api, path, "GET", header_params=accept, response_type="object", asked=asked)[0]

    def request(self, method: str, url: str, headers: dict[str, str] | None = None, **rest: object) -> Any:
        """Send one request, signed, as the generated client's methods do."""
        self._shown = self.access.headers()
        try:
            response = super().request(method, url, headers={**(headers or {}), **self._shown}, **rest)
        except ApiException as error:
            # The generated client raises this for encryption errors, without a body to decode.
            if isinstance(error.__context__, SSLError):
                raise error.__context__ from None
            raise _read_answer(error) from None
        # Without this, a login page would be read as an answer without fields.
        with contextlib.suppress(ValueError):
            json.loads(response.data.decode("utf-8"))
            return response
        raise _read_answer(ApiException(http_resp=response))

    def deserialize(self, response: Any, response_type: str) -> Any:
        """Convert an answer to a model."""
        try:
            return super().deserialize(response, response_type)
        except (ApiException, AttributeError, TypeError, ValueError):
            raise _read_answer(ApiException(http_resp=response)) from None


def _read_answer(error: ApiException) -> AnswerError:
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body or ""
    return AnswerError(error.status, error.reason or "", error.headers or {}, body)
