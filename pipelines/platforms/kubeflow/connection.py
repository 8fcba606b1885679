"""The connection to Kubeflow Pipelines' API v2beta1: the vendor's generated client, signed in, with one way to send."""

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
from pipelines.platforms.kubeflow import errors, network, sign_in
from pipelines.platforms.kubeflow.errors import Answer
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.secrets import hide

PAGE_SIZE = 100


class Connection:
    """A profile's connection; it sends nothing by itself.

    Attributes:
        runs, recurring_runs, experiments: The services of the API.

    Raises:
        SettingError: The profile's `ca_file` cannot be read.
    """

    def __init__(self, profile: KubeflowProfile) -> None:
        self._profile = profile
        self._was_reached = False
        self._access = sign_in.prepare(profile)
        self._client = _Client(profile, self._access)
        self.runs = kfp_server_api.RunServiceApi(self._client)
        self.recurring_runs = kfp_server_api.RecurringRunServiceApi(self._client)
        self.experiments = kfp_server_api.ExperimentServiceApi(self._client)

    def send(self, method: Callable[..., Any], *args: object, asked: str, creates: bool = False, **query: Any) -> Any:
        """Send one request; once more after a new sign-in, when the host refuses the session or token.

        Args:
            method: Of one of the services.
            asked: What it is to do, for the message: "start the run X".
            creates: Whether it creates something, so that it matters whether it was carried out.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        start = f"{self._profile.title} could not {asked}"
        try:
            answer = self._send(functools.partial(method, *args, **query))
            self._was_reached = True
            return answer
        except HTTPError as error:
            explained = network.explain_silence(error, start, creates=creates)
            # A host that answered before comes back with the network; one that never did is mistyped.
            kind = TransientError if self._was_reached else type(explained)
        except _RefusedError as error:
            self._was_reached = True
            explained = errors.explain(
                error.answer, start, profile=self._profile, advice=self._access.advice, creates=creates
            )
            kind = type(explained)
            if isinstance(explained, TransientError):
                time.sleep(error.answer.wait_seconds)
        # Neither what was sent nor the headers of the answer belong in a traceback.
        raise kind(hide(str(explained), self._client.shown), may_have_happened=explained.may_have_happened) from None

    def ask(self, method: Callable[..., Any], *args: object, asked: str, **query: Any) -> Any:
        """Send a request that changes nothing, or the same when repeated; retry after transient errors.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        return retrying.call(lambda: self.send(method, *args, asked=asked, **query))

    def read_all(
        self, method: Callable[..., Any], field: str, *, asked: str, name: str = "", **query: Any
    ) -> list[Any]:
        """Read every page of a list, without retrying.

        Args:
            field: The field of the answer that has the items.
            name: Only those with this display name.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        if name:
            predicate = kfp_server_api.V2beta1Predicate(
                operation=kfp_server_api.V2beta1PredicateOperation.EQUALS, key="display_name", string_value=name
            )
            content = kfp_server_api.V2beta1Filter(predicates=[predicate])
            text = json.dumps(self._client.sanitize_for_serialization(content))
            # The server decodes the query of the address twice.
            query["filter"] = text.replace("%", "\\u0025").replace("+", "\\u002b")
        items: list[Any] = []
        token = ""
        while True:
            page = self.send(method, asked=asked, page_size=PAGE_SIZE, page_token=token, **query)
            items += getattr(page, field) or []
            token = page.next_page_token
            if not token:
                # Some versions compare names without regard to capitals.
                return [item for item in items if not name or item.display_name == name]

    def read(self, path: str, *, asked: str) -> Any:
        """Read the JSON at a path for which the generated client has no method, without retrying.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        return self.send(
            self._client.call_api,
            path,
            "GET",
            asked=asked,
            header_params={"Accept": "application/json"},
            response_type="object",
            _return_http_data_only=True,
        )

    def _send(self, request: Callable[..., Any]) -> Any:
        timeout = (network.CONNECT_SECONDS, network.ANSWER_SECONDS)
        try:
            return request(_request_timeout=timeout)
        except _RefusedError as error:
            # Without a sign-in nothing was changed, so that this repeats nothing.
            if not error.answer.wants_sign_in or not self._access.renew():
                raise
        return request(_request_timeout=timeout)


class _RefusedError(Exception):
    """The host answered, but not with what was asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Client(kfp_server_api.ApiClient):
    """The generated client, which signs each request and takes nothing but JSON for an answer.

    Attributes:
        shown: The headers that signed the last request.
    """

    def __init__(self, profile: KubeflowProfile, access: sign_in.Access) -> None:
        super().__init__(kfp_server_api.Configuration(host=profile.host))
        self.rest_client.pool_manager = network.new_pool(profile)
        self.shown: dict[str, str] = {}
        self._access = access

    def request(self, method: str, url: str, headers: dict[str, str] | None = None, **rest: object) -> Any:
        """Send one request, signed."""
        self.shown = self._access.headers()
        try:
            response = super().request(method, url, headers={**(headers or {}), **self.shown}, **rest)
        except ApiException as error:
            # The generated client makes this of what goes wrong with the encryption, without a body to decode.
            if isinstance(error.__context__, SSLError):
                raise error.__context__ from None
            raise _refuse(error.status, error.reason, error.headers, error.body) from None
        # Without this, a login page would be read as an answer in which every field is missing.
        with contextlib.suppress(ValueError):
            json.loads(response.data.decode("utf-8"))
            return response
        raise _refuse(response.status, response.reason, response.getheaders(), response.data)

    def deserialize(self, response: Any, response_type: str) -> Any:
        """Read an answer as a model."""
        try:
            return super().deserialize(response, response_type)
        except (ApiException, AttributeError, TypeError, ValueError):
            raise _refuse(response.status, response.reason, response.getheaders(), response.data) from None


def _refuse(status: int, reason: str | None, headers: Any, body: bytes | str | None) -> _RefusedError:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    lowered = {name.lower(): value for name, value in dict(headers or {}).items()}
    return _RefusedError(Answer(status, reason or "", lowered, text))
