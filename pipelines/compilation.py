"""Build a job from a profile and parameters: checked, compiled for the platform, images by digest."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from kfp import compiler
from kfp.dsl import base_component

from components import TRAINER_IMAGE
from components.mnist.errors import SettingError
from components.mnist.settings import Value
from pipelines import container_images, parameters, training
from pipelines.container_images import TRAINER_GPU_IMAGE, ImageError
from pipelines.profiles import Profile

NAMED_SOURCES = ("mnist", "sample")


@dataclass(frozen=True)
class Job:
    """A pipeline run to submit to a platform, now or by a schedule.

    Attributes:
        documents: The compiled pipeline: the pipeline spec, and on Kubeflow the platform spec after it.
        parameters: Every parameter of the pipeline with its value, in the parameter's type.
        code: The version of the code that it was compiled from (`container_images.tag`), shown on the platform.
    """

    documents: tuple[Mapping[str, object], ...]
    parameters: Mapping[str, Value]
    code: str = ""


def build_job(profile: Profile, given: Mapping[str, Value]) -> Job:
    """Check parameters and compile the pipeline for a profile.

    Args:
        given: Parameters that differ from the pipeline's defaults.

    Raises:
        SettingError: A parameter is unknown, of another type, out of range, or a path of this machine.
        ImageError: No pushed images belong to this code.
    """
    pipeline = build_pipeline(profile)
    values = check_parameters(profile, given, parameters.read_defaults(pipeline))
    return Job(compile_documents(pipeline), values, container_images.tag())


def build_pipeline(profile: Profile) -> base_component.BaseComponent:
    """Build the pipeline for a profile's platform.

    Raises:
        ImageError: No pushed images belong to this code.
    """
    return training.build(profile.placement(find_images(profile)))


def find_images(profile: Profile) -> dict[str, str]:
    """Return the references by digest of the pushed images for a profile's runs, by image of `components/__init__.py`.

    Raises:
        ImageError: No pushed images belong to this code, or the profile has an accelerator and the trainer with CUDA
            was not pushed.
    """
    return choose_images(
        profile, container_images.remote_references(container_images.ROOT / container_images.LOCK_FILE)
    )


def choose_images(profile: Profile, pushed: Mapping[str, str]) -> dict[str, str]:
    """Choose the pushed images for a profile's runs: with an accelerator, the trainer with CUDA.

    Raises:
        ImageError: The profile has an accelerator, and the trainer with CUDA was not pushed.
    """
    images = dict(pushed)
    with_cuda = images.pop(TRAINER_GPU_IMAGE, None)
    if not profile.accelerator:
        return images
    if with_cuda is None:
        raise ImageError(
            f"[{profile.name}] trains on {profile.accelerator}, but the trainer with CUDA ({TRAINER_GPU_IMAGE}) was "
            "not pushed for this code. Push it too: make push REGISTRY=host/path GPU=1"
        )
    return {**images, TRAINER_IMAGE: with_cuda}


def check_parameters(profile: Profile, given: Mapping[str, Value], defaults: Mapping[str, Value]) -> dict[str, Value]:
    """Return all parameters of a run on a platform, in the parameters' types.

    A profile with an accelerator sets `require_gpu`, unless it is given: a node without the driver would silently
    train on the CPU.

    Raises:
        SettingError: A parameter is unknown, of another type, out of range, or a path of this machine.
    """
    values = dict(defaults) | parameters.check_values(given)
    _check_source(str(values["source"]).strip())
    if profile.accelerator and "require_gpu" not in given:
        values["require_gpu"] = True
    return values


def compile_documents(pipeline: base_component.BaseComponent) -> tuple[dict[str, object], ...]:
    """Compile to the documents of the YAML file: the pipeline spec, and the platform spec after it if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(pipeline, str(file))
        return tuple(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def _check_source(source: str) -> None:
    """Refuse a source that a platform cannot read, or that contains a password, which the platform would keep."""
    if source in NAMED_SOURCES:
        return
    scheme, separator, _ = source.partition("://")
    scheme = scheme.lower() if separator else ""
    if scheme == "gs":
        if not re.match(r"gs://[a-z0-9][\w.-]+", source, re.IGNORECASE):
            raise SettingError(f"source={source}: names no bucket; expected gs://bucket/file or gs://bucket/folder.")
        return
    if scheme not in ("http", "https"):
        what = "a path of this machine" if scheme in ("", "file") else f"{scheme}://"
        raise SettingError(
            f"source={source}: {what}, which a platform cannot read; expected mnist, sample, gs:// or https://. "
            "Copy the data to a bucket: gcloud storage cp --recursive PATH gs://BUCKET/FOLDER"
        )
    parts = urlsplit(source)
    if "@" in parts.netloc or parts.query:
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise SettingError(
            f"source={address}: contains a password or signature, which the platform would keep and show to everyone "
            "who sees the run. Copy the data to a bucket that the run's service account may read: gs://BUCKET/FOLDER"
        )
