"""What can go wrong at Vertex AI, with Google's own messages and error details."""

from dataclasses import dataclass
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.fakes.vertex.checks import Refusal
from tests.fakes.vertex.location import NUMBER, PROJECT, REGION

Code = grpc.StatusCode
# What Google answers, by the name that tests give it.
ANSWERS: dict[str, Refusal] = {
    "invalid": Refusal(Code.INVALID_ARGUMENT, "List of found errors: 1.Field: pipeline_job; Message: not like this."),
    "unauthenticated": Refusal(
        Code.UNAUTHENTICATED,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential.",
        "ACCESS_TOKEN_EXPIRED",
    ),
    "denied": Refusal(
        Code.PERMISSION_DENIED,
        "Permission 'aiplatform.pipelineJobs.create' denied on resource '//aiplatform.googleapis.com/projects/"
        f"{PROJECT}/locations/{REGION}' (or it may not exist).",
        "IAM_PERMISSION_DENIED",
        {"permission": "aiplatform.pipelineJobs.create"},
    ),
    "act-as": Refusal(
        Code.PERMISSION_DENIED, "You do not have permission to act as service_account: a@b.c (or it may not exist)."
    ),
    "disabled": Refusal(
        Code.PERMISSION_DENIED,
        f"Vertex AI API has not been used in project {NUMBER} before or it is disabled.",
        "SERVICE_DISABLED",
    ),
    "unpaid": Refusal(Code.PERMISSION_DENIED, "This API method requires billing to be enabled.", "BILLING_DISABLED"),
    "missing": Refusal(Code.NOT_FOUND, "The resource is not found."),
    "exists": Refusal(Code.ALREADY_EXISTS, "Pipeline job with the specified ID already exists."),
    "quota": Refusal(
        Code.RESOURCE_EXHAUSTED,
        "Quota exceeded for quota metric 'Pipeline job requests' and limit 'Pipeline job requests per minute'.",
        "RATE_LIMIT_EXCEEDED",
    ),
    # A client whose own deadline has passed sees the same.
    "late": Refusal(Code.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    "internal": Refusal(Code.INTERNAL, "Internal error encountered."),
    "unavailable": Refusal(Code.UNAVAILABLE, "The service is currently unavailable."),
}


@dataclass
class Fault:
    """What goes wrong at the next calls of a method.

    Attributes:
        kind: A key of ANSWERS; "timeout" for no answer at all; "cut" for a connection that breaks.
        times: How many calls are still hit; None for every one.
        carried_out: Whether the call is carried out all the same, so that only its answer is lost.
        words: The message, instead of Google's usual one.
    """

    kind: str
    times: int | None
    carried_out: bool
    words: str | None


def answer_with(refusal: Refusal, context: grpc.ServicerContext) -> NoReturn:
    """Answer a call with an error, its details beside it."""
    status = status_pb2.Status(code=code_pb2.Code.Value(refusal.code.name), message=refusal.words)
    if refusal.reason:
        info = error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain="googleapis.com", metadata=dict(refusal.metadata)
        )
        detail = any_pb2.Any()
        detail.Pack(info)
        status.details.append(detail)
    context.abort_with_status(rpc_status.to_status(status))
