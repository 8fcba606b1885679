"""Jobs for a played Kubeflow: the real pipeline, compiled with and without what needs a platform spec."""

import functools
from typing import Any

from pipelines import compilation, parameters, training
from pipelines.compilation import Job
from pipelines.platforms.kubeflow.profile import KubeflowProfile, StorageSecret, Toleration
from tests.fakes.kubeflow.server import KubeflowServer

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
    place = profile.placement(REFERENCES) if with_platform else training.Placement()
    pipeline = training.build(place)
    return Job(compilation.compile_documents(pipeline), parameters.read_defaults(pipeline))


def shorten_waits(monkeypatch: Any) -> None:
    """Let clients lose patience within a test's time."""
    from pipelines.platforms import retrying
    from pipelines.platforms.kubeflow import client, network

    monkeypatch.setattr(retrying, "FIRST_WAIT_SECONDS", 0.005)
    monkeypatch.setattr(retrying, "LONGEST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.6)
    monkeypatch.setattr(retrying, "LOOK_SECONDS", (0.0, 0.005))
    monkeypatch.setattr(client, "EXTRAS_SECONDS", 0.1)
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.2)
