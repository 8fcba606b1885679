"""The connection to Vertex AI: sign-in with Google's credentials, one channel for all services, one way to send."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import google.auth
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.grpc import secure_authorized_channel
from google.auth.transport.requests import Request
from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
from google.cloud.aiplatform_v1.services.metadata_service.transports.grpc import MetadataServiceGrpcTransport
from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient
from google.cloud.aiplatform_v1.services.pipeline_service.transports.grpc import PipelineServiceGrpcTransport
from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient
from google.cloud.aiplatform_v1.services.schedule_service.transports.grpc import ScheduleServiceGrpcTransport

from pipelines.platforms import retrying
from pipelines.platforms.vertex import errors
from pipelines.platforms.vertex.profile import VertexProfile

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
REQUEST_SECONDS = 30.0
SIGN_IN_SECONDS = 30.0
RECONNECT_MILLISECONDS = 1000  # doubled with each try, by gRPC itself
# A connection that died unnoticed, as when a laptop slept, would be used for another quarter of an hour: while a call
# waits, the server is pinged.
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
        try:
            self._credentials, _ = google.auth.default(scopes=SCOPES)
            # One channel for all: the services share their host, and so the encryption and the sign-in.
            channel = self._open_channel()
        except GoogleAuthError as error:
            raise errors.explain_sign_in(error, profile, asked="connect") from None
        self.pipelines = PipelineServiceClient(transport=PipelineServiceGrpcTransport(channel=channel))
        self.schedules = ScheduleServiceClient(transport=ScheduleServiceGrpcTransport(channel=channel))
        self.metadata = MetadataServiceClient(transport=MetadataServiceGrpcTransport(channel=channel))

    def send(self, method: Callable[..., T], request: object, *, asked: str) -> T:
        """Send one request, once.

        Args:
            method: Of one of the services.
            asked: What it is to do, for the error: "start the run X".

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        try:
            # What gRPC says of credentials that have expired helps nobody, so they are renewed before.
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
        """Send a request that changes nothing, or the same when repeated; transient errors are tried again.

        Raises:
            PlatformError: One of its classes, by what went wrong.
        """
        return retrying.call(lambda: self.send(method, request, asked=asked))

    def _open_channel(self) -> Any:
        """Return a gRPC channel; nothing is sent before the first call."""
        host = self.profile.endpoint or f"{self.profile.region}-aiplatform.googleapis.com"
        options = [
            ("grpc.max_send_message_length", UNLIMITED),
            ("grpc.max_receive_message_length", UNLIMITED),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MILLISECONDS),
            ("grpc.keepalive_time_ms", QUIET_MILLISECONDS),
            ("grpc.keepalive_timeout_ms", PING_MILLISECONDS),
            ("grpc.http2.ping_timeout_ms", PING_MILLISECONDS),
        ]
        target = host if ":" in host else f"{host}:443"
        return secure_authorized_channel(self._credentials, self._request, target, options=options)
