"""What a remote run is checked for before anything is sent."""

from pathlib import Path
from typing import Any

import pytest

from components.mnist.errors import SettingError
from pipelines import compilation, container_images, parameters, training
from pipelines.container_images import ImageError
from tests.pipelines.platforms.test_profiles import kubeflow, vertex

DEFAULTS = parameters.read_defaults(training.build(training.Placement()))


def test_every_parameter_is_sent_in_its_own_type() -> None:
    values = compilation.check_parameters(
        kubeflow(), {"epochs": 7, "learning_rate": 0.01, "source": "gs://bucket/data"}, DEFAULTS
    )
    assert values == DEFAULTS | {"epochs": 7, "learning_rate": 0.01, "source": "gs://bucket/data"}
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in DEFAULTS.items()
    }


@pytest.mark.parametrize("profile", [kubeflow, vertex])
def test_an_accelerator_is_required_unless_told_otherwise(profile: Any) -> None:
    name = "nvidia.com/gpu" if profile is kubeflow else "NVIDIA_L4"
    assert compilation.check_parameters(profile(), {}, DEFAULTS)["require_gpu"] is False
    assert compilation.check_parameters(profile(accelerator=name), {}, DEFAULTS)["require_gpu"] is True
    assert (
        compilation.check_parameters(profile(accelerator=name), {"require_gpu": False}, DEFAULTS)["require_gpu"]
        is False
    )


@pytest.mark.parametrize("source", ["data/mine", "/data/mine.npz", "~/data", "file:///data"])
def test_a_path_of_this_machine_is_refused(source: str) -> None:
    with pytest.raises(SettingError, match=r"a platform cannot read; expected mnist, sample, gs://.*gcloud storage cp"):
        compilation.check_parameters(kubeflow(), {"source": source}, DEFAULTS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ftp://host/data.npz", "ftp://, which a platform cannot read; expected mnist, sample, gs:// or https://"),
        ("s3://bucket/data", "s3://, which a platform cannot read"),
        ("gs://", "names no bucket; expected gs://bucket/file or gs://bucket/folder."),
    ],
)
def test_what_no_step_reads_is_refused_before_it_is_sent(source: str, expected: str) -> None:
    with pytest.raises(SettingError) as caught:
        compilation.check_parameters(kubeflow(), {"source": source}, DEFAULTS)
    assert expected in str(caught.value)


def test_an_object_may_have_any_name() -> None:
    source = "gs://bucket/what?.npz"
    assert compilation.check_parameters(kubeflow(), {"source": source}, DEFAULTS)["source"] == source


@pytest.mark.parametrize(
    "source", ["https://me:hunter2@example.com/data.npz", "https://example.com/data.npz?signature=hunter2"]
)
def test_an_address_that_carries_a_secret_is_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(SettingError, match="contains a password or signature") as caught:
        compilation.check_parameters(kubeflow(), {"source": source}, DEFAULTS)
    assert "hunter2" not in str(caught.value)
    assert "https://example.com/data.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"epoch": 3}, "epoch: no such parameter; did you mean epochs?"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 2.5}, "epochs=2.5"),
        ({"precision": "half"}, "precision=half"),
        ({"require_gpu": "yes please"}, "require_gpu=yes please"),
    ],
)
def test_a_parameter_that_the_pipeline_does_not_take_is_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingError) as caught:
        compilation.check_parameters(kubeflow(), given, DEFAULTS)
    assert expected in str(caught.value)


def test_without_pushed_images_nothing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(container_images, "LOCK_FILE", str(tmp_path / "images.lock"))
    with pytest.raises(
        ImageError, match=r"images.lock: no such file, so no pushed images are known.* make push REGISTRY="
    ):
        compilation.build_job(kubeflow(), {})


def test_a_compiled_pipeline_is_the_same_each_time() -> None:
    """Otherwise every schedule would look changed."""
    first, second = (compilation.compile_documents(training.build(training.Placement())) for _ in range(2))
    assert first == second
