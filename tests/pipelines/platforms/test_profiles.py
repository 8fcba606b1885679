"""The pipeline compiled for each platform: what it asks for, in that platform's own names."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from components import STEPS_IMAGE, TRAINER_IMAGE
from pipelines import compilation, steps, training
from pipelines.compilation import Job
from pipelines.container_images import TRAINER_GPU_IMAGE, ImageError
from pipelines.platforms.kubeflow.profile import KubeflowProfile, StorageSecret, Toleration
from pipelines.platforms.vertex.profile import VertexProfile
from pipelines.profiles import Resources

REFERENCES = {
    image: f"registry.example.com/team/{image}@sha256:{digit * 64}"
    for image, digit in ((STEPS_IMAGE, "a"), (TRAINER_IMAGE, "b"), (TRAINER_GPU_IMAGE, "c"))
}
STEPS = tuple(steps.STEPS)
COMPILED: dict[str, tuple[Mapping[str, Any], ...]] = {}


def kubeflow(**keys: Any) -> KubeflowProfile:
    return KubeflowProfile(name="cluster", platform="kubeflow", host="https://kubeflow.example.com/pipeline", **keys)


def vertex(**keys: Any) -> VertexProfile:
    return VertexProfile(
        name="cloud",
        platform="vertex",
        project="my-project",
        region="europe-west4",
        pipeline_root="gs://bucket/root",
        **keys,
    )


def compile_for(profile: KubeflowProfile | VertexProfile) -> tuple[Mapping[str, Any], ...]:
    """Compile, and read the result as the platform will: by the schemas of the pipeline spec, strictly.

    Compiling takes long, so that each profile is compiled once.
    """
    if (key := f"{profile.platform} {profile.model_dump_json()}") not in COMPILED:
        COMPILED[key] = _compile(profile)
    return COMPILED[key]


def _compile(profile: KubeflowProfile | VertexProfile) -> tuple[Mapping[str, Any], ...]:
    images = compilation.choose_images(profile, REFERENCES)
    documents = compilation.compile_documents(training.build(profile.placement(images)))
    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    for document in documents[1:]:
        platform = json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec()).platforms["kubernetes"]
        for executor in platform.deployment_spec.executors.values():
            json_format.Parse(
                json_format.MessageToJson(executor), kubernetes_executor_config_pb2.KubernetesExecutorConfig()
            )
    return documents


def container(documents: tuple[Mapping[str, Any], ...], step: str) -> dict[str, Any]:
    return documents[0]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def variables(documents: tuple[Mapping[str, Any], ...], step: str) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in container(documents, step).get("env", [])}


@pytest.mark.parametrize("profile", [kubeflow(), vertex()], ids=["kubeflow", "vertex"])
def test_every_image_is_named_by_digest(profile: KubeflowProfile | VertexProfile) -> None:
    documents = compile_for(profile)
    assert {step: container(documents, step)["image"] for step in STEPS} == {
        "ingest": REFERENCES[STEPS_IMAGE],
        "train": REFERENCES[TRAINER_IMAGE],
        "evaluate": REFERENCES[STEPS_IMAGE],
        "visualize": REFERENCES[STEPS_IMAGE],
    }


@pytest.mark.parametrize(
    ("profile", "accelerator"),
    [(kubeflow, "nvidia.com/gpu"), (vertex, "NVIDIA_L4")],
    ids=["kubeflow", "vertex"],
)
def test_training_alone_gets_the_accelerator_and_the_image_with_cuda(profile: Any, accelerator: str) -> None:
    documents = compile_for(profile(accelerator=accelerator, accelerator_count=2))
    asked = container(documents, "train")["resources"]["accelerator"]
    assert (asked["type"], asked["count"]) == (accelerator, "2")
    assert container(documents, "train")["image"] == REFERENCES[TRAINER_GPU_IMAGE]
    assert all("accelerator" not in container(documents, step)["resources"] for step in STEPS if step != "train")


@pytest.mark.parametrize("profile", [kubeflow(), vertex()], ids=["kubeflow", "vertex"])
def test_without_an_accelerator_none_is_asked_for(profile: KubeflowProfile | VertexProfile) -> None:
    documents = compile_for(profile)
    assert all("accelerator" not in container(documents, step)["resources"] for step in STEPS)


def test_an_accelerator_without_its_image_is_refused() -> None:
    references = {image: name for image, name in REFERENCES.items() if image != TRAINER_GPU_IMAGE}
    with pytest.raises(ImageError, match=r"\[cluster\] trains on nvidia.com/gpu, but the trainer with CUDA .* GPU=1"):
        compilation.choose_images(kubeflow(accelerator="nvidia.com/gpu"), references)


def test_kubernetes_is_asked_for_processors_and_memory_and_given_the_same_as_limit() -> None:
    documents = compile_for(kubeflow(resources={"train": Resources(cpu="500m", memory="12Gi")}))
    resources = container(documents, "train")["resources"]
    assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == ("500m", "500m")
    assert (resources["resourceMemoryRequest"], resources["resourceMemoryLimit"]) == ("12Gi", "12Gi")
    assert container(documents, "ingest")["resources"]["resourceMemoryLimit"] == "2G"


def test_vertex_is_given_the_limits_from_which_it_chooses_a_machine() -> None:
    resources = container(compile_for(vertex(resources={"train": Resources(cpu="8", memory="32G")})), "train")[
        "resources"
    ]
    assert (resources["cpuLimit"], resources["memoryLimit"]) == (8.0, 32.0)


@pytest.mark.parametrize(
    ("profile", "first", "longest"),
    [(kubeflow(), "15s", "604800s"), (vertex(), "60s", "3600s")],
    ids=["kubeflow", "vertex"],
)
def test_training_alone_is_tried_again(profile: KubeflowProfile | VertexProfile, first: str, longest: str) -> None:
    tasks = compile_for(profile)[0]["root"]["dag"]["tasks"]
    assert tasks["train"]["retryPolicy"] == {
        "maxRetryCount": 3,
        "backoffDuration": first,
        "backoffFactor": 2.0,
        "backoffMaxDuration": longest,
    }
    assert not any("retryPolicy" in tasks[step] for step in STEPS if step != "train")


def test_retries_can_be_turned_off() -> None:
    assert "retryPolicy" not in compile_for(kubeflow(train_retries=0))[0]["root"]["dag"]["tasks"]["train"]


@pytest.mark.parametrize("profile", [kubeflow(), vertex()], ids=["kubeflow", "vertex"])
def test_ingest_always_looks_at_its_source_again(profile: KubeflowProfile | VertexProfile) -> None:
    tasks = compile_for(profile)[0]["root"]["dag"]["tasks"]
    assert {step: tasks[step]["cachingOptions"].get("enableCache", False) for step in STEPS} == {
        "ingest": False,
        "train": True,
        "evaluate": True,
        "visualize": True,
    }


def test_the_pod_that_trains_goes_where_the_profile_says() -> None:
    documents = compile_for(
        kubeflow(
            node_selector={"pool": "gpu"},
            tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),),
        )
    )
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors == {
        "exec-train": {
            "nodeSelector": {"labels": {"pool": "gpu"}},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        }
    }


def test_every_pod_gets_the_secrets_for_images_and_storage() -> None:
    documents = compile_for(
        kubeflow(
            pull_secret="registry",
            storage_secrets=(
                StorageSecret(
                    name="gcs", mount="/secret/gcs", variables={"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
                ),
                StorageSecret(name="s3", variables={"AWS_ACCESS_KEY_ID": "id"}),
            ),
        )
    )
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for step in STEPS:
        executor = executors[f"exec-{step}"]
        assert [secret["secretName"] for secret in executor["imagePullSecret"]] == ["registry"]
        assert [(secret["secretName"], secret["mountPath"]) for secret in executor["secretAsVolume"]] == [
            ("gcs", "/secret/gcs")
        ]
        assert [(secret["secretName"], secret["keyToEnv"]) for secret in executor["secretAsEnv"]] == [
            ("s3", [{"secretKey": "id", "envVar": "AWS_ACCESS_KEY_ID"}])
        ]
        assert variables(documents, step)["GOOGLE_APPLICATION_CREDENTIALS"] == "/secret/gcs/key.json"


def test_a_finished_run_goes_when_its_time_is_over() -> None:
    documents = compile_for(kubeflow(time_to_live_hours=24))
    assert documents[1]["platforms"]["kubernetes"]["pipelineConfig"] == {"resourceTtlOnCompletion": 24 * 3600}


@pytest.mark.parametrize(
    "profile",
    [
        vertex(accelerator="NVIDIA_L4", labels={"team": "vision"}),
        vertex(machine_type="g2-standard-8", accelerator="NVIDIA_L4"),
        vertex(spot=True),
    ],
    ids=["limits", "machine", "spot"],
)
def test_vertex_gets_one_document(profile: VertexProfile) -> None:
    assert len(compile_for(profile)) == 1


@pytest.mark.parametrize(("spot", "strategy"), [(True, "SPOT"), (False, "STANDARD")])
def test_a_named_machine_or_spot_capacity_makes_training_a_custom_job(spot: bool, strategy: str) -> None:
    documents = compile_for(
        vertex(
            machine_type="g2-standard-8",
            spot=spot,
            accelerator="NVIDIA_L4",
            service_account="trainer@my-project.iam.gserviceaccount.com",
            network="projects/1/global/networks/inner",
            encryption_key="projects/my-project/locations/europe-west4/keyRings/r/cryptoKeys/k",
            labels={"team": "vision"},
        )
    )
    values = {
        name: parameter["defaultValue"]
        for name, parameter in documents[0]["components"]["comp-train"]["inputDefinitions"]["parameters"].items()
        if "defaultValue" in parameter
    }
    pool = values["worker_pool_specs"][0]
    assert pool["machine_spec"] == {
        "machine_type": "g2-standard-8",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 1,
    }
    assert pool["container_spec"]["image_uri"] == REFERENCES[TRAINER_GPU_IMAGE]
    assert values["strategy"] == strategy
    assert values["restart_job_on_worker_restart"] is spot
    assert values["service_account"] == "trainer@my-project.iam.gserviceaccount.com"
    assert values["network"] == "projects/1/global/networks/inner"
    assert values["encryption_spec_key_name"].endswith("cryptoKeys/k")
    assert values["labels"] == {"team": "vision"}


@pytest.mark.parametrize(
    "profile", [kubeflow(), vertex(), vertex(spot=True)], ids=["kubeflow", "vertex", "vertex-spot"]
)
def test_the_graph_its_parameters_and_defaults_are_the_same_everywhere(
    profile: KubeflowProfile | VertexProfile,
) -> None:
    here = compilation.compile_documents(training.build(training.Placement()))[0]
    there = compile_for(profile)[0]
    assert there["root"]["inputDefinitions"] == here["root"]["inputDefinitions"]
    for step in STEPS:
        ours, theirs = (document["root"]["dag"]["tasks"][step] for document in (here, there))
        assert ours.get("dependentTasks", []) == theirs.get("dependentTasks", [])
        assert ours["inputs"].items() <= theirs["inputs"].items() or set(ours["inputs"]["parameters"]) <= set(
            theirs["inputs"]["parameters"]
        )


def test_nothing_secret_can_get_into_a_compiled_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEFLOW_PASSWORD", "hunter2")
    documents = compile_for(
        kubeflow(
            sign_in={"method": "dex", "username": "me@example.com", "password_variable": "KUBEFLOW_PASSWORD"},
            pull_secret="registry",
        )
    )
    assert "hunter2" not in str(documents)
    assert "me@example.com" not in str(documents)


def test_what_vertex_is_asked_for_is_the_real_request() -> None:
    from pipelines.platforms.vertex.client import build_request

    request = build_request(vertex(), Job(compile_for(vertex()), {"epochs": 3, "source": "sample"}), name="run-1")
    assert request.parent == "projects/my-project/locations/europe-west4"
    assert request.pipeline_job.runtime_config.gcs_output_directory == "gs://bucket/root"
    assert dict(request.pipeline_job.runtime_config.parameter_values) == {"epochs": 3.0, "source": "sample"}


def test_the_custom_job_that_vertex_starts_is_a_valid_one() -> None:
    """Its launcher fills this template in and sends it: do the same, and read it as Vertex AI's own message."""
    from google.cloud.aiplatform_v1.types import CustomJob

    documents = compile_for(
        vertex(spot=True, accelerator="NVIDIA_L4", machine_type="g2-standard-8", labels={"team": "vision"})
    )
    parameters = documents[0]["components"]["comp-train"]["inputDefinitions"]["parameters"]
    arguments = container(documents, "train")["args"]
    template = arguments[arguments.index("--payload") + 1]

    def fill(match: re.Match[str]) -> str:
        value = parameters[match[1]].get("defaultValue")  # an optional one that is not given is null
        return value if isinstance(value, str) else json.dumps(value)

    filled = re.sub(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}", fill, template)
    job = CustomJob(json_format.ParseDict(json.loads(filled), CustomJob.pb(CustomJob())))
    [pool] = job.job_spec.worker_pool_specs
    assert pool.machine_spec.accelerator_type.name == "NVIDIA_L4"
    assert pool.container_spec.image_uri == REFERENCES[TRAINER_GPU_IMAGE]
    assert job.job_spec.scheduling.strategy.name == "SPOT"
    assert dict(job.labels) == {"team": "vision"}
