"""The compiled pipeline: what Kubeflow and Vertex AI will see."""

from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import compiler, dsl

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.evaluate import evaluate
from components.mnist.errors import SettingError
from pipelines import container_images, training
from pipelines.steps import STEPS, Step, read_step_name

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


def test_a_placement_names_the_images(tmp_path: Path) -> None:
    images = {TRAINER_IMAGE: "registry.example/trainer@sha256:1", STEPS_IMAGE: "registry.example/steps@sha256:2"}
    executors = compile_for(training.Placement(images=images), tmp_path)["deploymentSpec"]["executors"]
    assert executors["exec-train"]["container"]["image"] == images[TRAINER_IMAGE]
    assert executors["exec-evaluate"]["container"]["image"] == images[STEPS_IMAGE]


def test_an_image_without_a_reference_is_refused() -> None:
    with pytest.raises(SettingError, match=r"ingest: its image mnist-python-steps was not pushed"):
        training.build(training.Placement(images={TRAINER_IMAGE: "registry.example/trainer@sha256:1"}))


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def find_leaks(source: str) -> None:
    """A step whose name has two words."""


def test_a_step_of_two_words_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(find_leaks, reads_source=True)
    monkeypatch.setitem(STEPS, step.name, step)

    @dsl.pipeline(name="test")
    def graph() -> None:
        training.Placement().apply(find_leaks(source="sample"))

    (executor,) = json_format.MessageToDict(graph.pipeline_spec)["deploymentSpec"]["executors"].values()
    assert read_step_name(executor["container"]["args"]) == step.name == "find-leaks"


def test_a_step_that_is_twice_in_the_graph_is_refused() -> None:
    def graph() -> None:
        training.Placement().apply(find_leaks(source="sample"))
        training.Placement().apply(find_leaks(source="sample"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STEPS, "find-leaks", Step(find_leaks))
        with pytest.raises(SettingError, match="find-leaks: twice in the graph"):
            dsl.pipeline(name="test")(graph)


def test_an_output_that_a_step_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"evaluate has no output metrix; expected one of metrics, confusion"):
        Step(evaluate, fetched={"metrix": "metrics.json"})


def test_every_image_of_a_step_is_built_and_pushed() -> None:
    assert {step.image for step in STEPS.values()} <= set(container_images.IMAGES)


def test_steps_install_nothing_when_they_start(compiled: dict) -> None:
    for executor in compiled["deploymentSpec"]["executors"].values():
        assert "pip install" not in " ".join(executor["container"]["command"])
