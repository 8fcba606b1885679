"""The project and region of the played Vertex AI, with its resource names and its clock."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import grpc

from tests.fakes.vertex.checks import Refusal, require

PROJECT, NUMBER, REGION = "my-project", "123456789012", "europe-west4"


class Location:
    """A project in a region, its resource names and its clock.

    Attributes:
        ahead: How far the clock has been put forward.
    """

    number, region = NUMBER, REGION

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The time by the server's clock."""
        return datetime.now(UTC) + self.ahead

    def full(self, name: str) -> str:
        """The resource name in an answer, which names the project by its number, whatever the request did."""
        return f"projects/{self.number}/locations/{self.region}/{name}"

    def check_parent(self, parent: str) -> None:
        project, _, region = parent.removeprefix("projects/").partition("/locations/")
        if project not in (PROJECT, NUMBER):
            words = f"Permission denied on resource project {project}."
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, words, "CONSUMER_INVALID", {"consumer": parent})
        require(region == self.region, f"Location {region!r} is not that of this endpoint, {self.region!r}.")

    def read_id(self, name: str, collection: str, among: Mapping[str, object]) -> str:
        parent, separator, id = name.partition(f"/{collection}/")
        require(separator and id and "/" not in id, f"Invalid resource name {name!r}.")
        self.check_parent(parent)
        if id not in among:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"{collection.rpartition('/')[2]} {name} does not exist.")
        return id
