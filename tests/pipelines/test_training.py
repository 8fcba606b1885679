"""The compiled pipeline: what Kubeflow and Vertex AI will see."""

from pathlib import Path

import pytest
import yaml
from kfp import compiler

from components import STEPS_IMAGE, TRAINER_IMAGE
from pipelines import training

INTERFACES = {
    "ingest": ({}, {"training_data": "Dataset", "validation_data": "Dataset", "test_data": "Dataset"}),
    "train": (
        {"training_data": "Dataset", "validation_data": "Dataset"},
        {"model": "Model", "history": "Dataset"},
    ),
    "evaluate": (
        {"model": "Model", "test_data": "Dataset"},
        {"metrics": "Metrics", "confusion": "ClassificationMetrics", "predictions": "Dataset"},
    ),
    "visualize": (
        {
            "model": "Model",
            "history": "Dataset",
            "metrics": "Metrics",
            "predictions": "Dataset",
            "training_data": "Dataset",
            "validation_data": "Dataset",
            "test_data": "Dataset",
        },
        {"report": "HTML", "summary": "Markdown", "figures": "Artifact"},
    ),
}


def compile_for(place: training.Placement, folder: Path) -> dict:
    """Compile and read back; the file must be one document."""
    file = folder / "pipeline.yaml"
    compiler.Compiler().compile(training.build(place), str(file))
    return yaml.safe_load(file.read_text())


def artifact_types(definitions: dict) -> dict[str, str]:
    """Name to type of a component's artifacts."""
    artifacts = definitions.get("artifacts", {})
    return {name: spec["artifactType"]["schemaTitle"].removeprefix("system.") for name, spec in artifacts.items()}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return compile_for(training.Placement(), tmp_path_factory.mktemp("compiled"))


@pytest.mark.parametrize("step", INTERFACES)
def test_a_step_takes_and_gives_typed_artifacts(compiled: dict, step: str) -> None:
    inputs, outputs = INTERFACES[step]
    component = compiled["components"][f"comp-{step}"]
    assert artifact_types(component.get("inputDefinitions", {})) == inputs
    assert artifact_types(component["outputDefinitions"]) == outputs


def test_training_never_sees_the_test_data(compiled: dict) -> None:
    sources = compiled["root"]["dag"]["tasks"]["train"]["inputs"]["artifacts"].values()
    assert {source["taskOutputArtifact"]["outputArtifactKey"] for source in sources} == {
        "training_data",
        "validation_data",
    }


def test_ingest_is_never_answered_from_a_cache(compiled: dict) -> None:
    tasks = compiled["root"]["dag"]["tasks"]
    assert not tasks["ingest"]["cachingOptions"].get("enableCache", False)
    assert tasks["train"]["cachingOptions"]["enableCache"]


def test_every_parameter_is_described_on_the_pipelines_page(compiled: dict) -> None:
    for name, spec in compiled["root"]["inputDefinitions"]["parameters"].items():
        assert spec["description"], name
        assert "defaultValue" in spec, name


def test_a_place_names_the_images(tmp_path: Path) -> None:
    place = training.Placement(images={TRAINER_IMAGE: "registry.example/trainer@sha256:1"})
    executors = compile_for(place, tmp_path)["deploymentSpec"]["executors"]
    images = {name: executor["container"]["image"] for name, executor in executors.items()}
    assert images["exec-train"] == "registry.example/trainer@sha256:1"
    assert images["exec-evaluate"] == STEPS_IMAGE


def test_steps_install_nothing_when_they_start(compiled: dict) -> None:
    for executor in compiled["deploymentSpec"]["executors"].values():
        assert "pip install" not in " ".join(executor["container"]["command"])
