"""A profile with `platform = "vertex"`: its keys in `mnist.toml`, and the placement of its steps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from kfp import dsl
from kfp.dsl import base_component, pipeline_task
from pydantic import Field, model_validator

from components import TRAINER_IMAGE
from pipelines.profiles import Bucket, Profile, Text, form
from pipelines.steps import STEPS, Step
from pipelines.training import Placement

LONGEST_RETRY_WAIT = "3600s"  # Vertex AI's limit
DEFAULT_MACHINE = "n1-standard-8"  # on Spot capacity without an accelerator; with one, machine_type is required

LABELS = "labels of at most 63 of a-z, 0-9, _ and -, keys starting with a letter"
LabelKey = Annotated[str, form(r"[a-z][a-z0-9_-]{0,62}", LABELS)]
LabelValue = Annotated[str, form(r"[a-z0-9_-]{0,63}", LABELS)]


class VertexProfile(Profile):
    """Vertex AI Pipelines in a project and region.

    Attributes:
        project: The project's id: "my-project".
        region: "europe-west4".
        network: The Compute Engine network that the machines join; None for none of the project's.
        encryption_key: A key of Cloud KMS in the same region.
        labels: Labels of every run.
        machine_type: The machine of the training step: "g2-standard-8". None lets Vertex AI choose one for
            `resources`; on Spot capacity, it is n1-standard-8.
        spot: Whether training runs on Spot capacity, which costs less and may be preempted.
        endpoint: The API's "host" or "host:port"; None for the region's public one.
    """

    identity_keys: ClassVar = Profile.identity_keys | {"project", "region", "endpoint"}

    platform: Literal["vertex"]
    project: Annotated[str, form(r"[a-z][a-z0-9:.-]*[a-z0-9]", "a project's id such as my-project-123")]
    region: Annotated[str, form(r"[a-z]+-[a-z]+[0-9]+", "a region such as europe-west4")]
    pipeline_root: Bucket
    network: Text | None = None
    encryption_key: Text | None = None
    labels: Mapping[LabelKey, LabelValue] = Field(default_factory=dict)
    machine_type: Text | None = None
    spot: bool = False
    endpoint: Annotated[str, form(r"[a-zA-Z0-9.-]+(:[0-9]+)?", "host or host:port")] | None = None

    @property
    def trains_in_custom_job(self) -> bool:
        """Whether training runs as a CustomJob: the only way to choose a machine type or Spot capacity."""
        return self.spot or self.machine_type is not None

    @model_validator(mode="after")
    def _fits_its_machine(self) -> Self:
        if self.accelerator and not self.accelerator.startswith("NVIDIA_"):
            raise ValueError(
                f"has the accelerator {self.accelerator}; expected Vertex AI's name of an NVIDIA GPU, such as "
                "NVIDIA_L4: the trainer's image has CUDA."
            )
        if self.spot and self.accelerator and not self.machine_type:
            raise ValueError(
                f"has spot and the accelerator {self.accelerator} without machine_type; expected a machine with "
                'it, such as machine_type = "g2-standard-8" for NVIDIA_L4.'
            )
        if self.trains_in_custom_job and any(STEPS[name].trains for name in self.resources):
            raise ValueError(
                "has resources.train beside machine_type or spot, with which training gets a whole machine. Keep one "
                "of them."
            )
        return self

    @property
    def title(self) -> str:
        """Name of the platform, with project and region."""
        return f"Vertex AI ({self.project}, {self.region})"

    @property
    def parent(self) -> str:
        """Resource name of the project's region, the parent of runs and schedules."""
        return f"projects/{self.project}/locations/{self.region}"

    def placement(self, images: Mapping[str, str]) -> Placement:
        """Return the placement: resources, and a CustomJob for training if the profile sets a machine type or Spot."""

        def equip(step: Step, task: pipeline_task.PipelineTask) -> None:
            if not (step.trains and self.trains_in_custom_job):
                resources = self.resources_of(step)
                task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
            if step.trains:
                self.equip_training(task, retry_within=LONGEST_RETRY_WAIT, has_own_machine=self.trains_in_custom_job)

        def as_custom_job(component: base_component.BaseComponent) -> base_component.BaseComponent:
            # Imported late: only these profiles need it.
            from google_cloud_pipeline_components.v1.custom_job import utils

            image = images[TRAINER_IMAGE]
            return utils.create_custom_training_job_from_component(
                dsl.component(base_image=image, install_kfp_package=False)(component.python_func),
                display_name=f"mnist-{component.name}",
                machine_type=self.machine_type or DEFAULT_MACHINE,
                accelerator_type=self.accelerator or "",
                accelerator_count=self.accelerator_count,
                strategy="SPOT" if self.spot else "STANDARD",
                restart_job_on_worker_restart=self.spot,
                # A CustomJob inherits nothing from its pipeline.
                service_account=self.service_account or "",
                network=self.network or "",
                encryption_spec_key_name=self.encryption_key or "",
                labels=dict(self.labels),
            )

        placement = Placement(images=images, equip=equip)
        return replace(placement, trainer=as_custom_job) if self.trains_in_custom_job else placement
