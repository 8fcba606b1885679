"""One component alone, with artifacts of any type."""

from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp import dsl
from kfp.dsl import base_component

from pipelines import single_step
from pipelines.steps import STEPS, Step
from pipelines.training import Placement


class Foreign(dsl.Artifact):
    """A type that KFP does not know."""

    schema_title = "google.UnmanagedContainerModel"
    schema_version = "0.0.1"


@dsl.component(base_image="python-none", install_kfp_package=False)
def slice_up(given: dsl.Input[dsl.SlicedClassificationMetrics]) -> None:
    """Take a type that no step of the pipeline has."""


@dsl.component(base_image="python-none", install_kfp_package=False)
def adopt(given: dsl.Input[Foreign]) -> None:
    """Take a type from elsewhere."""


@pytest.mark.parametrize(
    ("component", "title"),
    [(slice_up, "system.SlicedClassificationMetrics"), (adopt, Foreign.schema_title)],
)
def test_an_artifact_of_any_type_can_be_given(
    component: base_component.BaseComponent, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, component.name, Step(component))
    inputs = single_step.read_inputs(component)
    folders = single_step.check_folders({"given": str(tmp_path)}, inputs)
    pipeline = single_step.build(component, {}, folders, Placement())
    executors = json_format.MessageToDict(pipeline.pipeline_spec)["deploymentSpec"]["executors"].values()
    (importer,) = [executor["importer"] for executor in executors if "importer" in executor]
    assert importer["typeSchema"]["schemaTitle"] == title
    assert importer["artifactUri"]["constant"] == str(tmp_path)
