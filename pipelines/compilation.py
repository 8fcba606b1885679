"""From a profile and parameters to a job: checked, compiled for the platform, images by digest."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from google.protobuf import json_format
from kfp import compiler
from kfp.dsl import base_component
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from components.mnist.errors import SettingError
from components.mnist.settings import Value
from pipelines import container_images, parameters, placement, training
from pipelines.platforms.base import Job
from pipelines.profiles import AnyProfile, VertexProfile

WORDS = ("mnist", "sample")


def build_pipeline(profile: AnyProfile) -> base_component.BaseComponent:
    """The pipeline as it is for a profile's platform, with the images of this commit.

    Raises:
        ImageError: No pushed images belong to this commit.
    """
    references = container_images.remote_references(container_images.ROOT / container_images.LOCK_FILE)
    return training.build(placement.place(profile, references))


def build_job(profile: AnyProfile, given: Mapping[str, Value]) -> Job:
    """What a platform is asked to run.

    Args:
        given: Parameters that differ from the pipeline's defaults.

    Raises:
        SettingError: A parameter is unknown, of another type, out of range, or leads nowhere from a remote place.
        ImageError: No pushed images belong to this commit.
    """
    pipeline = build_pipeline(profile)
    return Job(compile_documents(pipeline), check_remote(profile, given, parameters.read_defaults(pipeline)))


def check_remote(profile: AnyProfile, given: Mapping[str, Value], defaults: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter of a remote run, in its own type.

    A profile with an accelerator requires it, unless told otherwise: a node without its driver would train on the CPU
    and nobody would notice but who pays.

    Raises:
        SettingError: A parameter is unknown, of another type, out of range, or leads nowhere from a remote place.
    """
    pairs = [f"{name}={parameters.spell(value)}" for name, value in given.items()]
    values = parameters.check_values(parameters.parse_pairs(pairs, defaults), dict(defaults))
    _check_source(str(values["source"]).strip())
    if profile.accelerator and "require_gpu" not in given:
        values["require_gpu"] = True
    return values


def _check_source(source: str) -> None:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    if source in WORDS:
        return
    if scheme and scheme[1].lower() == "gs":
        if not re.match(r"gs://[a-z0-9][\w.-]+", source, re.IGNORECASE):
            raise SettingError(f"source={source}: names no bucket; expected gs://bucket/file or gs://bucket/folder.")
        return
    if not scheme or scheme[1].lower() not in ("http", "https"):
        what = "a path of this machine" if not scheme or scheme[1].lower() == "file" else f"{scheme[1]}://"
        raise SettingError(
            f"source={source}: {what}, which a remote run cannot see; expected mnist, sample, gs:// or https://. Bring "
            "the data to a bucket: gcloud storage cp --recursive PATH gs://BUCKET/FOLDER"
        )
    parts = urlsplit(source)
    if "@" in parts.netloc or parts.query:
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise SettingError(
            f"source={address}: carries a password or signature, which the platform would keep and show to everyone "
            "who sees the run. Bring the data to a bucket that the run's service account may read: gs://BUCKET/FOLDER"
        )


def compile_documents(pipeline: base_component.BaseComponent) -> tuple[dict[str, object], ...]:
    """Compile to what the YAML file holds: the pipeline spec, and the platform spec behind it where there is one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(pipeline, str(file))
        return tuple(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def check_documents(profile: AnyProfile, documents: Sequence[Mapping[str, object]]) -> None:
    """Read a compiled pipeline as its platform will: by the pipeline spec's own schema, strictly.

    Raises:
        SettingError: The platform would not take it; says where it departs from the schema.
    """
    try:
        json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
        for document in documents[1:]:
            platform = json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec()).platforms["kubernetes"]
            for executor in platform.deployment_spec.executors.values():
                json_format.Parse(
                    json_format.MessageToJson(executor), kubernetes_executor_config_pb2.KubernetesExecutorConfig()
                )
    except json_format.ParseError as error:
        raise SettingError(
            f"[{profile.name}] the compiled pipeline is not a pipeline spec ({error}). Do the versions of kfp and "
            "kfp-kubernetes belong together? make install"
        ) from error
    if isinstance(profile, VertexProfile):
        from pipelines.platforms.vertex import requests

        requests.build_request(profile, Job(tuple(documents), {}), training.NAME)
