"""Clients of the played Vertex AI, and what they send."""

import functools
from typing import Any
from weakref import WeakKeyDictionary

from pipelines import parameters, training
from pipelines.compilation import Job
from pipelines.platforms.vertex.client import Vertex
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.test_profiles import compile_for
from tests.pipelines.platforms.test_profiles import vertex as make_profile

KEY = "projects/my-project/locations/europe-west4/keyRings/ring/cryptoKeys/key"
ACCOUNT = "runner@my-project.iam.gserviceaccount.com"
NETWORK = "projects/123456789012/global/networks/inner"
FULL: dict[str, Any] = {
    "service_account": ACCOUNT,
    "network": NETWORK,
    "encryption_key": KEY,
    "labels": {"team": "vision", "cost_center": "42"},
}
CLIENTS: WeakKeyDictionary[VertexServer, dict[str, Vertex]] = WeakKeyDictionary()


def connect(server: VertexServer, **keys: Any) -> Vertex:
    """A client for a profile with these keys; equal profiles share one, with its connection and its token."""
    profile = make_profile(endpoint=server.endpoint, **keys)
    known, text = CLIENTS.setdefault(server, {}), profile.model_dump_json()
    if text not in known:
        known[text] = Vertex(profile)
    return known[text]


def connect_anew(server: VertexServer) -> Vertex:
    """A client that has no connection and no token yet."""
    return Vertex(make_profile(endpoint=server.endpoint))


@functools.cache
def make_job(**keys: Any) -> Job:
    """The pipeline compiled for a profile with these keys, on the sample."""
    defaults = parameters.read_defaults(training.build(training.Placement()))
    return Job(compile_for(make_profile(**keys)), {**defaults, "source": "sample"})
