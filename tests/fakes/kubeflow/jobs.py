"""Profiles, jobs and time for a played Kubeflow: the real pipeline, with and without a platform spec."""

import functools
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse
from urllib3.util.wait import wait_for_read

from pipelines import compilation, parameters, training
from pipelines.compilation import Job
from pipelines.platforms.kubeflow.profile import KubeflowProfile, StorageSecret, Toleration
from tests.fakes.clock import Clock
from tests.fakes.kubeflow.server import UNANSWERED, KubeflowServer

DIGEST = f"sha256:{'5f' * 32}"
REFERENCES = {name: f"registry.example/team/{name}@{DIGEST}" for name in ("mnist-python-steps", "mnist-python-trainer")}


def new_profile(server: KubeflowServer, **more: Any) -> KubeflowProfile:
    """A profile of a played server's namespace team-a."""
    content = {"name": "cluster", "platform": "kubeflow", "host": server.host, "namespace": "team-a", **more}
    return KubeflowProfile(**content)


@functools.cache
def new_job(*, with_platform: bool = False) -> Job:
    """The training pipeline with its defaults.

    Args:
        with_platform: Compiled for a profile that needs things of Kubernetes: two documents.
    """
    profile = KubeflowProfile(
        name="cluster",
        platform="kubeflow",
        host="http://localhost",
        pull_secret="registry",
        node_selector={"pool": "gpu"},
        tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists"),),
        storage_secrets=(StorageSecret(name="gcs", mount="/secret", variables={"KEY": "key.json"}),),
    )
    pipeline = training.build(profile.placement(REFERENCES) if with_platform else training.Placement())
    return Job(compilation.compile_documents(pipeline), parameters.read_defaults(pipeline))


def play_time(monkeypatch: Any) -> Clock:
    """Let time pass for clients only while they wait, and let them lose patience as soon as the server falls silent."""
    from google.api_core.retry import retry_base, retry_unary

    from pipelines.platforms import retrying
    from pipelines.platforms.kubeflow import connection

    clock = Clock()
    for module in (retry_base, retry_unary, retrying, connection):
        monkeypatch.setattr(module, "time", clock)
    read_answer = HTTPConnection.getresponse

    def get_answer(self: HTTPConnection) -> HTTPResponse:
        # Not a short timeout: on a busy machine it could be over before the server has taken the call.
        address = self.sock.getsockname()
        while not wait_for_read(self.sock, timeout=0.002):
            if address in UNANSWERED:
                UNANSWERED.discard(address)  # at once, since another client may get the port
                raise TimeoutError("timed out")
        return read_answer(self)

    monkeypatch.setattr(HTTPConnection, "getresponse", get_answer)
    return clock
