"""What the compiled pipeline asks of each remote platform, in that platform's own names.

Machines, retries, secrets and accelerators only: the graph and its defaults are the same everywhere.
"""

from collections.abc import Mapping

from kfp import dsl, kubernetes
from kfp.dsl import base_component, pipeline_task

from components import TRAINER_IMAGE
from components.mnist.errors import ERROR_FILE
from pipelines.container_images import TRAINER_GPU_IMAGE, ImageError
from pipelines.profiles import AnyProfile, KubeflowProfile, Resources, StorageSecret, Toleration, VertexProfile
from pipelines.training import Place

TRAIN = "train"
RESOURCES: dict[str, Resources] = {
    "ingest": Resources(cpu="1", memory="2G"),
    "train": Resources(cpu="4", memory="8G"),
    "evaluate": Resources(cpu="1", memory="2G"),
    "visualize": Resources(cpu="1", memory="2G"),
}
FIRST_RETRY = "60s"  # capacity that was taken away is seldom back at once
# Argo counts from the start of the first try: one that took longer than this would not be tried again.
KUBEFLOW_RETRIES_WITHIN = "604800s"
VERTEX_LONGEST_WAIT = "3600s"  # the most that Vertex AI takes
DEFAULT_MACHINE = "n1-standard-8"  # on Spot capacity without an accelerator; with one, a profile names its machine
# Kubernetes shows what a container leaves here as the reason why it ended.
TERMINATION_MESSAGE = "/dev/termination-log"


def place(profile: AnyProfile, references: Mapping[str, str]) -> Place:
    """Return what the pipeline needs to be compiled for a profile.

    Args:
        references: Images by digest, as `images.remote_references` reads them.

    Raises:
        ImageError: The profile has an accelerator, and the trainer with CUDA was not pushed.
    """
    images = _choose_images(profile, references)
    if isinstance(profile, VertexProfile):
        return _on_vertex(profile, images)
    return _on_kubeflow(profile, images)


def _choose_images(profile: AnyProfile, references: Mapping[str, str]) -> dict[str, str]:
    images = dict(references)
    cuda = images.pop(TRAINER_GPU_IMAGE, None)
    if not profile.accelerator or not profile.accelerator.lower().startswith("nvidia"):
        return images
    if cuda is None:
        raise ImageError(
            f"[{profile.name}] trains on {profile.accelerator}, but the trainer with CUDA ({TRAINER_GPU_IMAGE}) was "
            "not pushed for this commit. Push it too: make push REGISTRY=host/path GPU=1"
        )
    return {**images, TRAINER_IMAGE: cuda}


def _on_kubeflow(profile: KubeflowProfile, images: Mapping[str, str]) -> Place:
    def equip(step: str, task: pipeline_task.PipelineTask) -> None:
        resources = _resources(profile, step)
        task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
        task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
        task.set_env_variable(ERROR_FILE, TERMINATION_MESSAGE)
        for secret in profile.storage_secrets:
            _give_secret(task, secret)
        if profile.pull_secret:
            kubernetes.set_image_pull_secrets(task, [profile.pull_secret])
        if step == TRAIN:
            _set_training(task, profile)
            for key, value in profile.node_selector.items():
                kubernetes.add_node_selector(task, key, value)
            for toleration in profile.tolerations:
                _tolerate(task, toleration)

    hours = profile.time_to_live_hours
    config = dsl.PipelineConfig(ttl_seconds_after_finished=hours * 3600) if hours else None
    return Place(images=images, equip=equip, config=config)


def _on_vertex(profile: VertexProfile, images: Mapping[str, str]) -> Place:
    is_custom_job = profile.spot or profile.machine_type is not None

    def equip(step: str, task: pipeline_task.PipelineTask) -> None:
        if step == TRAIN and is_custom_job:
            _retry(task, profile)
            return
        resources = _resources(profile, step)
        task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
        if step == TRAIN:
            _set_training(task, profile)

    def trainer(component: base_component.BaseComponent) -> base_component.BaseComponent:
        return _as_custom_job(component, profile, images[TRAINER_IMAGE]) if is_custom_job else component

    return Place(images=images, equip=equip, trainer=trainer)


def _resources(profile: AnyProfile, step: str) -> Resources:
    own: dict[str, Resources] = dict(profile.resources.items())
    return own.get(step, RESOURCES[step])


def _set_training(task: pipeline_task.PipelineTask, profile: AnyProfile) -> None:
    _retry(task, profile)
    if profile.accelerator:
        # A limit of 0 would still ask for a node with the accelerator: for the CPU the call is left out.
        task.set_accelerator_type(profile.accelerator).set_accelerator_limit(profile.accelerator_count)


def _retry(task: pipeline_task.PipelineTask, profile: AnyProfile) -> None:
    longest = VERTEX_LONGEST_WAIT if isinstance(profile, VertexProfile) else KUBEFLOW_RETRIES_WITHIN
    if profile.train_retries:
        task.set_retry(profile.train_retries, FIRST_RETRY, 2.0, longest)


def _give_secret(task: pipeline_task.PipelineTask, secret: StorageSecret) -> None:
    if secret.mount is None:
        kubernetes.use_secret_as_env(task, secret.name, {key: variable for variable, key in secret.variables.items()})
        return
    kubernetes.use_secret_as_volume(task, secret.name, secret.mount)
    for variable, key in secret.variables.items():
        task.set_env_variable(variable, f"{secret.mount.rstrip('/')}/{key}")


def _tolerate(task: pipeline_task.PipelineTask, toleration: Toleration) -> None:
    kubernetes.add_toleration(
        task,
        key=toleration.key,
        operator=toleration.operator,
        value=toleration.value,
        effect=toleration.effect,
        toleration_seconds=toleration.seconds,
    )


def _as_custom_job(
    component: base_component.BaseComponent, profile: VertexProfile, image: str
) -> base_component.BaseComponent:
    """Wrap training in a CustomJob: the only way to name a machine type, or to train on Spot capacity."""
    # Imported late: only these profiles need it.
    from google_cloud_pipeline_components.v1.custom_job import utils

    with_image = dsl.component(base_image=image, install_kfp_package=False)(component.python_func)
    return utils.create_custom_training_job_from_component(
        with_image,
        display_name=f"mnist-{TRAIN}",
        machine_type=profile.machine_type or DEFAULT_MACHINE,
        accelerator_type=profile.accelerator or "",
        accelerator_count=profile.accelerator_count,
        strategy="SPOT" if profile.spot else "STANDARD",
        restart_job_on_worker_restart=profile.spot,
        # A CustomJob inherits nothing from the pipeline that starts it.
        service_account=profile.service_account or "",
        network=profile.network or "",
        encryption_spec_key_name=profile.encryption_key or "",
        labels=dict(profile.labels),
    )
