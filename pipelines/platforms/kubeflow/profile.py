"""A profile with `platform = "kubeflow"`: its keys in `mnist.toml`, and what it asks the cluster for."""

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

# Kubernetes itself waits for a node, so that a retry need not wait for capacity; and an error that can only repeat
# itself ends the run soon.
RETRY_AFTER = "15s"
# Argo counts from the start of the first try: a training that took longer than this would not be tried again.
RETRY_WITHIN = "604800s"
# Kubernetes reports what a container leaves here as the reason why it ended.
TERMINATION_MESSAGE = "/dev/termination-log"


Accelerator = Annotated[
    str,
    form(r"nvidia\.com/.+", "Kubernetes' name of the resource, such as nvidia.com/gpu: the trainer's image has CUDA"),
]


class Toleration(Table):
    """A toleration for a taint of nodes, in Kubernetes' own keys."""

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
    mount: Annotated[str, form(r"/[^\s:]+", "the path of a folder, from /")] | None = None
    variables: Mapping[Text, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        if not self.mount and not self.variables:
            raise ValueError(f"has a secret {self.name} that is not used, expected mount, variables or both.")
        return self


class KubeflowProfile(Profile):
    """A Kubeflow Pipelines of one's own.

    `train_retries` repeats a training whose pod failed: its own error, too little memory, an eviction by its node. A
    pod that was deleted, as when its node disappears, is not retried: KFP sets no retryPolicy, and Argo's default
    retries failures, not errors. KFP sets no condition either, so that an error that can only repeat itself is retried
    as well.

    Attributes:
        host: The address of its page and API, without a slash at its end: "https://kubeflow.example.com/pipeline".
        namespace: Of the runs; None where Kubeflow Pipelines has no profiles (installed alone).
        ca_file: Certificates to trust besides the machine's own.
        node_selector, tolerations: Of the pod that trains.
        pull_secret: For the images of all steps.
        storage_secrets: For all steps.
        time_to_live_hours: After which a finished run's pods and workflow go; None keeps the cluster's own rule.
        controller_time_zone: In which the cluster fires schedules; UTC unless its CRON_SCHEDULE_TIMEZONE is set.
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
        """Kubeflow Pipelines and its address."""
        return f"Kubeflow Pipelines at {self.host}"

    def placement(self, images: Mapping[str, str]) -> Placement:
        """Ask Kubernetes for resources, secrets, the nodes that train, and the end of finished pods."""

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
