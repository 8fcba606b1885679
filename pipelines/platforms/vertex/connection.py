"""The connection to Vertex AI: sign-in with Google's credentials, one channel for all services, error handling."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import google.auth
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.grpc import secure_authorized_channel
from google.auth.transport.requests import Request
from google.cloud.aiplatform_v1 import MetadataServiceClient, PipelineServiceClient, ScheduleServiceClient

from pipelines.platforms import retrying
from pipelines.platforms.vertex import errors
from pipelines.platforms.vertex.profile import VertexProfile

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
REQUEST_SECONDS = 30.0
SIGN_IN_SECONDS = 30.0
RECONNECT_MILLISECONDS = 1000  # doubled with each try, by gRPC itself
# While a call waits, the server is pinged: a connection lost unnoticed, for instance while a laptop slept, would
# otherwise be used for another quarter of an hour.
QUIET_MILLISECONDS = 20_000
PING_MILLISECONDS = 8_000
UNLIMITED = -1  # a pipeline with its schedule's history can be larger than gRPC's 4 MB

T = TypeVar("T")


class Connection:
    """A connection to Vertex AI in a profile's region, signed in.

    Attributes:
        pipelines, schedules, metadata: The services.

    Raises:
        SignInError: No credentials can be found.
    """

    def __init__(self, profile: VertexProfile) -> None:
        self.profile = profile
        self._was_reached = False
        self._request = functools.partial(Request(), timeout=SIGN_IN_SECONDS)
        host = profile.endpoint or f"{profile.region}-aiplatform.googleapis.com"
        options = [
            ("grpc.max_send_message_length", UNLIMITED),
            ("grpc.max_receive_message_length", UNLIMITED),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MILLISECONDS),
            ("grpc.keepalive_time_ms", QUIET_MILLISECONDS),
            ("grpc.keepalive_timeout_ms", PING_MILLISECONDS),
            ("grpc.http2.ping_timeout_ms", PING_MILLISECONDS),
        ]
        try:
            self._credentials, _ = google.auth.default(scopes=SCOPES)
        except GoogleAuthError as error:
            raise errors.explain_sign_in(error, profile, asked="connect") from None
        # One channel for all services: they share host, encryption and sign-in.
        channel = secure_authorized_channel(
            self._credentials, self._request, host if ":" in host else f"{host}:443", options=options
        )

        def open_service(client: Any) -> Any:
            return client(transport=client.get_transport_class("grpc")(channel=channel))

        self.pipelines: PipelineServiceClient = open_service(PipelineServiceClient)
        self.schedules: ScheduleServiceClient = open_service(ScheduleServiceClient)
        self.metadata: MetadataServiceClient = open_service(MetadataServiceClient)

    def send(self, method: Callable[..., T], request: object, *, asked: str) -> T:
        """Send one request, without retrying.

        Args:
            method: A method of one of the services.
            asked: The purpose of the request, for the message: "start the run X".

        Raises:
            PlatformError: The subclass depends on the cause.
        """
        try:
            # gRPC's message for expired credentials is useless, so refresh first.
            if not self._credentials.valid:
                self._credentials.refresh(self._request)
            answer = method(request, retry=None, timeout=REQUEST_SECONDS)
        except GoogleAuthError as error:
            raise errors.explain_sign_in(error, self.profile, asked=asked) from None
        except GoogleAPICallError as error:
            raise errors.explain(error, self.profile, asked=asked, was_reached=self._was_reached) from None
        self._was_reached = True
        return answer

    def ask(self, method: Callable[..., T], request: object, *, asked: str) -> T:
        """Send an idempotent request; retry after transient errors.

        Raises:
            PlatformError: The subclass depends on the cause.
        """
        return retrying.call(lambda: self.send(method, request, asked=asked))
