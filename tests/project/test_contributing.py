"""The diffs of CONTRIBUTING.md: each is applied to a copy of the project, where it must be all that is needed."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.container_images import ROOT
from tests.fakes.project import copy_tracked_files

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def patched(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the project with the diff below a heading."""
    section = TEXT.partition(f"\n## {request.param}\n")[2].partition("\n## ")[0]
    [diff] = re.findall(r"^```diff\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    folder = tmp_path / "project"
    folder.mkdir()
    copy_tracked_files(folder)
    # The numbers of lines in the headings of hunks drift; what is around a change has to be there.
    done = subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def run(project: Path, folder: Path, *words: str | Path) -> str:
    """Run this Python on the code of a copy; what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={"PYTHONPATH": str(project), "PATH": "/usr/bin:/bin", "COLUMNS": "200", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MNIST = ("-c", "from pipelines.cli import main; main()")


@pytest.mark.parametrize("patched", ["A new parameter"], indirect=True)
def test_a_new_parameter_is_known_everywhere_and_reaches_the_training(patched: Path, tmp_path: Path) -> None:
    assert re.search(r"^clip_norm +100.0 +0.001 to 1000 ", run(patched, tmp_path, *MNIST, "params"), re.MULTILINE)
    program = (
        "import inspect; from components.mnist.settings import Recipe; from components.train import train; "
        "from pipelines import parameters, training; from tests.recipe import RECIPE; "
        "defaults = parameters.read_defaults(training.build(training.Placement())); "
        "page = inspect.signature(train.python_func).parameters; "
        "recipe = Recipe.from_parameters({**defaults, 'clip_norm': 0.5}); print(recipe.clip_norm); "
        "print(RECIPE.clip_norm, 'clip_norm' in page, 'clip_norm' in str(train.component_spec.inputs))"
    )
    assert run(patched, tmp_path, "-c", program).split() == ["0.5", "100.0", "True", "True"]
    run(patched, tmp_path, *MNIST, "run", "source=sample", "epochs=1", "clip_norm=0.5")
    assert '"clip_norm": 0.5' in (tmp_path / "runs/latest/steps/train/model/model.json").read_text()
    assert "clip_norm=0.5" in (tmp_path / "runs/latest/report.html").read_text()


@pytest.mark.parametrize("patched", ["A new step"], indirect=True)
def test_a_new_step_runs_and_platforms_profiles_and_run_folders_know_it(
    patched: Path, linear_run: Path, tmp_path: Path
) -> None:
    run(patched, tmp_path, *MNIST, "step", "describe", f"data={linear_run / 'training'}")
    [description] = (tmp_path / "runs").glob("*-describe/steps/describe/description")
    assert "- 0: " in description.read_text()
    program = (
        "from pipelines import training; from pipelines.platforms import remote_runs; "
        "from pipelines.platforms.kubeflow.profile import KubeflowProfile; from pipelines.compilation import *; "
        "own = {'describe': {'cpu': '250m', 'memory': '1G'}}; "
        "profile = KubeflowProfile.model_validate("
        "{'name': 'a', 'platform': 'kubeflow', 'host': 'http://localhost', 'resources': own}); "
        "spec = compile_documents(training.build(profile.placement({})))[0]; "
        "container = spec['deploymentSpec']['executors']['exec-describe']['container']; "
        "print(container['resources']['resourceCpuLimit'], ('describe', 'description') in remote_runs.list_fetched())"
    )
    assert run(patched, tmp_path, "-c", program).split() == ["250m", "True"]


def test_a_step_that_is_missing_in_the_table_gets_a_sentence(tmp_path: Path) -> None:
    program = (
        "from pipelines import steps, training; del steps.STEPS['evaluate']; "
        "from components.mnist.errors import SettingError\n"
        "try:\n    training.build(training.Placement())\nexcept SettingError as error:\n    print(error)"
    )
    assert "evaluate: no such step; expected one of ingest, train, visualize. Steps are listed in" in run(
        ROOT, tmp_path, "-c", program
    )


@pytest.mark.parametrize("patched", ["A new platform"], indirect=True)
def test_a_new_platform_can_be_named_in_a_profile_and_compiled_for(patched: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist.toml").write_text('[lab]\nplatform = "argo"\nhost = "https://argo.example.com"\n')
    program = (
        "from pathlib import Path; from pipelines import configuration, training; "
        "profile = configuration.read_profile('lab', Path('mnist.toml')); "
        "training.build(profile.placement({})); print(profile.title)"
    )
    assert run(patched, tmp_path, "-c", program) == "Argo at https://argo.example.com\n"


@pytest.mark.parametrize("patched", ["A new file format"], indirect=True)
def test_a_new_format_is_ingested(patched: Path, digits: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.save(tmp_path / "digits.npy", digits["x_train"])
    np.save(tmp_path / "digits-labels.npy", digits["y_train"])
    run(patched, tmp_path, *MNIST, "step", "ingest", "source=digits.npy")
    [manifest] = (tmp_path / "runs").glob("*-ingest/steps/ingest/training_data/manifest.json")
    assert '"origin": "digits.npy"' in manifest.read_text()
