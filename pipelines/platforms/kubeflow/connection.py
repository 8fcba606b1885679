"""The line to Kubeflow Pipelines' API v2beta1: the vendor's generated client, signed in, one way to send."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import kfp_server_api
from kfp_server_api.exceptions import ApiException
from urllib3.exceptions import HTTPError, SSLError

from pipelines.platforms import retrying
from pipelines.platforms.base import PlatformError, TransientError
from pipelines.platforms.kubeflow import errors, network, sign_in
from pipelines.platforms.kubeflow.errors import Answer
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.secrets import hide

PAGE_SIZE = 100


class Connection:
    """A profile's line; nothing is sent before something is asked.

    Attributes:
        runs, recurring_runs, experiments: The services.

    Raises:
        SettingError: The profile's `ca_file` cannot be read.
    """

    def __init__(self, profile: KubeflowProfile) -> None:
        self.profile = profile
        self._was_reached = False
        self._access = sign_in.prepare(profile)
        self._client = _Client(profile, self._access)
        self.runs = kfp_server_api.RunServiceApi(self._client)
        self.recurring_runs = kfp_server_api.RecurringRunServiceApi(self._client)
        self.experiments = kfp_server_api.ExperimentServiceApi(self._client)

    def send(self, method: Callable[..., Any], *args: object, asked: str, creates: bool = False, **query: Any) -> Any:
        """Send one request; once more after a new sign-in, when the host does not take the session or token any more.

        Args:
            method: Of one of the services.
            asked: What it is to do, for the message: "start the run X".
            creates: Whether it makes something, so that it matters whether it was carried out.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        start = f"{network.name_host(self.profile)} could not {asked}"
        try:
            answer = self._send(method, args, query)
            self._was_reached = True
            return answer
        except HTTPError as error:
            explained = self._explain_silence(error, start, creates=creates)
        except _RefusedError as error:
            self._was_reached = True
            explained = errors.explain(
                error.answer, start, profile=self.profile, advice=self._access.advice, creates=creates
            )
            if isinstance(explained, TransientError):
                time.sleep(error.answer.wait_seconds)
        # Neither what was sent nor the headers of the answer belong in a traceback.
        raise self._hide(explained) from None

    def ask(self, method: Callable[..., Any], *args: object, asked: str, **query: Any) -> Any:
        """Send a request that changes nothing, or the same when repeated, again and again while troubles pass.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        return retrying.call(lambda: self.send(method, *args, asked=asked, **query))

    def read_all(
        self, method: Callable[..., Any], field: str, *, asked: str, name: str = "", **query: Any
    ) -> list[Any]:
        """Every page of a list; each page is asked for once.

        Args:
            field: In which the answer has the items.
            name: Only those that are shown by this name.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        if name:
            query["filter"] = self._spell_filter(name)
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
        """What stands at a path for which the client has no method."""

        def get(_request_timeout: object) -> Any:
            return self._client.call_api(
                path,
                "GET",
                header_params={"Accept": "application/json"},
                response_type="object",
                _return_http_data_only=True,
                _request_timeout=_request_timeout,
            )

        return self.send(get, asked=asked)

    def _send(self, method: Callable[..., Any], args: tuple[object, ...], query: dict[str, object]) -> Any:
        timeout = (network.CONNECT_SECONDS, network.ANSWER_SECONDS)
        try:
            return method(*args, _request_timeout=timeout, **query)
        except _RefusedError as error:
            # Who is not signed in has changed nothing, so that this repeats nothing.
            if not error.answer.wants_sign_in or not self._access.renew():
                raise
        return method(*args, _request_timeout=timeout, **query)

    def _explain_silence(self, error: HTTPError, start: str, *, creates: bool) -> PlatformError:
        explained = network.explain_silence(error, start, creates=creates)
        # A host that was there before comes back with the network; one that never was is mistyped.
        if self._was_reached and not isinstance(explained, TransientError):
            return TransientError(str(explained), may_have_happened=explained.may_have_happened)
        return explained

    def _hide(self, error: PlatformError) -> PlatformError:
        return type(error)(hide(str(error), self._client.shown), may_have_happened=error.may_have_happened)

    def _spell_filter(self, name: str) -> str:
        predicate = kfp_server_api.V2beta1Predicate(
            operation=kfp_server_api.V2beta1PredicateOperation.EQUALS, key="display_name", string_value=name
        )
        content = kfp_server_api.V2beta1Filter(predicates=[predicate])
        text = json.dumps(self._client.sanitize_for_serialization(content))
        # The server decodes the query of the address twice.
        return text.replace("%", "\\u0025").replace("+", "\\u002b")


class _RefusedError(Exception):
    """The host answered, but not with what was asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Client(kfp_server_api.ApiClient):
    """The generated client, which signs each request and takes nothing but JSON for an answer.

    Attributes:
        shown: What the last request was signed with.
    """

    def __init__(self, profile: KubeflowProfile, access: sign_in.Access) -> None:
        super().__init__(kfp_server_api.Configuration(host=profile.host.rstrip("/")))
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
            raise _RefusedError(_read_answer(error.status, error.reason, error.headers, error.body)) from None
        # Without this, a login page would be read as an answer in which every field is missing.
        with contextlib.suppress(ValueError):
            json.loads(response.data.decode("utf-8"))
            return response
        raise _RefusedError(_read_answer(response.status, response.reason, response.getheaders(), response.data))

    def deserialize(self, response: Any, response_type: str) -> Any:
        """Read an answer as a model."""
        try:
            return super().deserialize(response, response_type)
        except (ApiException, AttributeError, TypeError, ValueError):
            raise _RefusedError(
                _read_answer(response.status, response.reason, response.getheaders(), response.data)
            ) from None


def _read_answer(status: int, reason: str | None, headers: Any, body: bytes | str | None) -> Answer:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    return Answer(status, reason or "", {name.lower(): value for name, value in dict(headers or {}).items()}, text)
