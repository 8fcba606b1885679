"""What a profile says: where remote runs go, how to sign in, on which machines, and what is scheduled.

Read from `mnist.toml` by `pipelines/configuration.py`; `mnist.example.toml` explains every key to a person.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Profile and schedule names become labels and parts of names on both platforms.
NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{0,63}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$")]
Bucket = Annotated[str, StringConstraints(pattern=r"^gs://[a-z0-9][a-z0-9._-]*(/[^\s?#]*)?$")]
Cores = Annotated[
    str, StringConstraints(pattern=r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|0?\.[0-9]*[1-9][0-9]*|[1-9][0-9]*m)$")
]
Memory = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[KMGT]i?$")]
Step = Literal["ingest", "train", "evaluate", "visualize"]


class Table(BaseModel):
    """What all tables have in common: no unknown keys, no guessing of types, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Resources(Table):
    """What a step's container asks for, and may not exceed.

    Attributes:
        cpu: Cores: "4", "0.5", "500m".
        memory: "8G", "512Mi".
    """

    cpu: Cores
    memory: Memory


class Schedule(Table):
    """A run that the platform starts again and again.

    Attributes:
        name: Unique in its profile.
        cron: Five fields: minute, hour, day of month, month, day of week.
        time_zone: Of the cron expression: "UTC", "Europe/Berlin".
        parameters: Those that differ from the pipeline's defaults.
        max_concurrency: Runs of this schedule at a time.
        start, end: It fires only between them; without a zone of their own they are in `time_zone`.
        paused: None leaves it to `mnist schedule pause` and `resume`.
    """

    name: Name
    cron: Text
    time_zone: Text = "UTC"
    parameters: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    max_concurrency: int = Field(default=1, ge=1, le=10)
    start: datetime | None = None
    end: datetime | None = None
    paused: bool | None = None


class NoSignIn(Table):
    """The host asks for nothing, as behind `kubectl port-forward`."""

    method: Literal["none"] = "none"


class TokenSignIn(Table):
    """A bearer token from a file or an environment variable, read again for each call.

    Attributes:
        file, variable: Exactly one of them.
    """

    method: Literal["token"]
    file: Text | None = None
    variable: Text | None = None


class DexSignIn(Table):
    """A session of Dex, as Kubeflow's manifests install it: signs in on its page and keeps the cookie.

    Attributes:
        username: Often an e-mail address.
        password_file, password_variable: Exactly one of them.
    """

    method: Literal["dex"]
    username: Text
    password_file: Text | None = None
    password_variable: Text | None = None


class IapSignIn(Table):
    """Google's Identity-Aware Proxy, with the Google credentials at hand.

    Attributes:
        client_id: Of the OAuth client that the proxy protects: "123-abc.apps.googleusercontent.com".
        service_account: To sign in as; needed when the credentials at hand are a person's.
    """

    method: Literal["iap"]
    client_id: Text
    service_account: Text | None = None


class ServiceAccountSignIn(Table):
    """The token that Kubernetes mounts into a pod of the same cluster, read again for each call."""

    method: Literal["service-account"]
    file: Text = "/var/run/secrets/kubeflow/pipelines/token"


SignIn = Annotated[NoSignIn | TokenSignIn | DexSignIn | IapSignIn | ServiceAccountSignIn, Field(discriminator="method")]


class Toleration(Table):
    """Of a taint of the nodes, in Kubernetes' words."""

    key: Text | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = Field(default=None, ge=0)


class StorageSecret(Table):
    """A Kubernetes secret that steps need to reach storage.

    Attributes:
        name: Of the secret, in the namespace of the runs.
        mount: A folder in which its keys appear as files.
        variables: Environment variables: from a key of the secret, or, with `mount`, the path of a key's file.
    """

    name: Text
    mount: Annotated[str, StringConstraints(pattern=r"^/[^\s:]+$")] | None = None
    variables: Mapping[Text, Text] = Field(default_factory=dict)


class Profile(Table):
    """What both platforms take.

    Attributes:
        name: Of the table.
        experiment: Under which runs are grouped.
        pipeline_root: The folder in a bucket for all artifacts.
        service_account: That steps run as.
        accelerator: The platform's name for it; None trains on the CPU.
        train_retries: How often training starts anew after its machine was taken away, or it failed.
        resources: By step, where they are not as in `pipelines/placement.py`.
    """

    name: Name
    experiment: Text | None = None
    service_account: Text | None = None
    accelerator: Text | None = None
    accelerator_count: int = Field(default=1, ge=1, le=16)
    train_retries: int = Field(default=3, ge=0, le=10)
    resources: Mapping[Step, Resources] = Field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()


class KubeflowProfile(Profile):
    """A Kubeflow Pipelines of one's own.

    Attributes:
        host: Where its page and API are: "https://kubeflow.example.com/pipeline".
        namespace: Of the runs; None where Kubeflow Pipelines has no profiles (installed alone).
        ca_file: Certificates to trust besides the machine's own.
        node_selector, tolerations: Of the pod that trains.
        pull_secret: For the images of all steps.
        storage_secrets: For all steps.
        time_to_live_hours: After which a finished run's pods and workflow go; None keeps the cluster's own rule.
        controller_time_zone: In which the cluster fires schedules; UTC unless its CRON_SCHEDULE_TIMEZONE says other.
    """

    platform: Literal["kubeflow"]
    host: Url
    namespace: Text | None = None
    experiment: Text = "mnist-training"
    sign_in: SignIn = Field(default_factory=NoSignIn)
    ca_file: Text | None = None
    pipeline_root: Bucket | None = None
    node_selector: Mapping[Text, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    pull_secret: Text | None = None
    storage_secrets: tuple[StorageSecret, ...] = ()
    time_to_live_hours: int | None = Field(default=None, ge=1, le=24 * 365)
    controller_time_zone: Text = "UTC"


class VertexProfile(Profile):
    """Vertex AI Pipelines in a project and region.

    Attributes:
        project: Its id: "my-project".
        region: "europe-west4".
        network: For the machines, where they must reach a network of the project's own.
        encryption_key: Of Cloud KMS, in the same region.
        labels: On every run.
        machine_type: Of the training step: "g2-standard-8"; None lets Vertex AI choose by
            `resources`, or takes n1-standard-8 on Spot capacity.
        spot: Train on Spot capacity: cheaper, and taken away when others need it.
        endpoint: Of the API, where it is not the region's public one: "host" or "host:port".
    """

    platform: Literal["vertex"]
    project: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9:.-]*[a-z0-9]$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    pipeline_root: Bucket
    network: Text | None = None
    encryption_key: Text | None = None
    labels: Mapping[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")], Label] = Field(
        default_factory=dict
    )
    machine_type: Text | None = None
    spot: bool = False
    endpoint: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9.-]+(:[0-9]+)?$")] | None = None


PLATFORMS: dict[str, type[KubeflowProfile] | type[VertexProfile]] = {
    "kubeflow": KubeflowProfile,
    "vertex": VertexProfile,
}
AnyProfile = KubeflowProfile | VertexProfile
