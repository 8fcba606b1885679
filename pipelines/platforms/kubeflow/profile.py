"""A profile with `platform = "kubeflow"`: its keys in `mnist.toml`, and the placement of its steps."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from kfp import dsl, kubernetes
from kfp.dsl import pipeline_task
from pydantic import AfterValidator, Field, model_validator

from components.mnist.errors import ERROR_FILE
from pipelines.platforms.kubeflow.credentials import NoSignIn, SignIn
from pipelines.profiles import Profile, Table, Text, Url, form
from pipelines.steps import Step
from pipelines.training import NAME, Placement

# Short: Kubernetes itself waits for capacity, and a permanent error should end the run soon.
RETRY_AFTER = "15s"
# Counted by Argo from the start of the first try: a training that took longer than this would not be retried.
RETRY_WITHIN = "604800s"
# Kubernetes reports the content of this file as the reason for a container's end.
TERMINATION_MESSAGE = "/dev/termination-log"


Accelerator = Annotated[
    str,
    form(r"nvidia\.com/.+", "Kubernetes' name of the resource, such as nvidia.com/gpu: the trainer's image has CUDA"),
]


class Toleration(Table):
    """A toleration for a taint of nodes, with Kubernetes' keys."""

    key: Text | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = Field(default=None, ge=0)


class StorageSecret(Table):
    """A Kubernetes secret with which steps access storage.

    Attributes:
        name: Name of the secret, in the namespace of the runs.
        mount: A folder for its keys as files.
        variables: Environment variables: the value of a key or, with `mount`, the path of a key's file.
    """

    name: Text
    mount: Annotated[str, form(r"/[^\s:]+", "the path of a folder, from /")] | None = None
    variables: Mapping[Text, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        if not self.mount and not self.variables:
            raise ValueError(f"has a secret {self.name} that is not used, expected mount, variables or both.")
        return self


class KubeflowProfile(Profile):
    """A Kubeflow Pipelines server.

    `train_retries` retries a training whose pod failed: by an error of its own, lack of memory, or eviction. A deleted
    pod, for instance of a lost node, is not retried: KFP sets no retryPolicy, and Argo's default retries failures, not
    errors. KFP sets no condition either, so that permanent errors are retried as well.

    Attributes:
        host: The address of its page and API, without a trailing slash: "https://kubeflow.example.com/pipeline".
        namespace: The namespace of the runs; None if Kubeflow Pipelines has no profiles (standalone).
        ca_file: Additional trusted certificates.
        node_selector, tolerations: For the training pod.
        pull_secret: For the images of all steps.
        storage_secrets: For all steps.
        time_to_live_hours: Hours until a finished run's pods and workflow are deleted; None for the cluster's default.
        controller_time_zone: The time zone of the cluster's schedules; UTC unless CRON_SCHEDULE_TIMEZONE is set there.
    """

    identity_keys: ClassVar = Profile.identity_keys | {
        "host",
        "namespace",
        "sign_in",
        "ca_file",
        "controller_time_zone",
    }

    platform: Literal["kubeflow"]
    host: Annotated[Url, AfterValidator(lambda address: address.rstrip("/"))]
    namespace: Text | None = None
    experiment: Text = NAME
    accelerator: Accelerator | None = None
    sign_in: SignIn = Field(default_factory=NoSignIn)
    ca_file: Text | None = None
    node_selector: Mapping[Text, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    pull_secret: Text | None = None
    storage_secrets: tuple[StorageSecret, ...] = ()
    time_to_live_hours: int | None = Field(default=None, ge=1, le=24 * 365)
    controller_time_zone: Text = "UTC"

    @property
    def title(self) -> str:
        """Name of the platform, with its address."""
        return f"Kubeflow Pipelines at {self.host}"

    def placement(self, images: Mapping[str, str]) -> Placement:
        """Return the placement: resources, secrets, nodes for training, and the deletion of finished pods."""

        def equip(step: Step, task: pipeline_task.PipelineTask) -> None:
            resources = self.resources_of(step)
            task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
            task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
            task.set_env_variable(ERROR_FILE, TERMINATION_MESSAGE)
            for secret in self.storage_secrets:
                if secret.mount:
                    kubernetes.use_secret_as_volume(task, secret.name, secret.mount)
                    for variable, key in secret.variables.items():
                        task.set_env_variable(variable, f"{secret.mount.rstrip('/')}/{key}")
                else:
                    variables = {key: variable for variable, key in secret.variables.items()}
                    kubernetes.use_secret_as_env(task, secret.name, variables)
            if self.pull_secret:
                kubernetes.set_image_pull_secrets(task, [self.pull_secret])
            if step.trains:
                self.equip_training(task, retry_after=RETRY_AFTER, retry_within=RETRY_WITHIN)
                for key, value in self.node_selector.items():
                    kubernetes.add_node_selector(task, key, value)
                for each in self.tolerations:
                    kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect, each.seconds)

        hours = self.time_to_live_hours
        config = dsl.PipelineConfig(ttl_seconds_after_finished=hours * 3600) if hours else None
        return Placement(images=images, equip=equip, config=config)
