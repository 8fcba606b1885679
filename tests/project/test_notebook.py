"""The notebook, run whole as in Jupyter, and its first cells as in Colab."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from pipelines import parameters, training

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "CNN_mnist.ipynb"


def read_cells() -> list[str]:
    """The code of every code cell."""
    return [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def test_it_runs_from_top_to_bottom_and_shows_its_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_SOURCE", "sample")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 6
    assert any("225,034" in output.get("text", "") + str(output.get("data", "")) for output in outputs)
    assert json.loads((tmp_path / "notebook-run" / "metrics" / "metrics.json").read_text())["accuracy"] >= 0.96
    assert (tmp_path / "notebook-run" / "report.html").is_file()


def test_its_settings_are_the_pipelines_defaults() -> None:
    cell = next(source for source in read_cells() if "RECIPE = Recipe(" in source)
    settings: dict[str, Any] = {}
    exec(cell, {"os": os}, settings)
    defaults = parameters.read_defaults(training.build(training.Placement()))
    own = settings["INGEST"] | dataclasses.asdict(settings["RECIPE"])
    assert own == {name: value for name, value in defaults.items() if name != "source"}


def test_it_is_committed_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code")


@pytest.fixture
def colab(tmp_path: Path) -> Path:
    """A Python as in Colab: TensorFlow and much else is installed, the project is not."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "colab"], check=True)
    python = tmp_path / "colab" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # The packages of this environment, without its own .pth files, which would add the project.
    Path(site.stdout.strip(), "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, since building a package leaves files in its folder."""
    left_out = shutil.ignore_patterns(".*", "runs", "build", "__pycache__", "*.egg-info", "mnist.npz")
    return Path(shutil.copytree(ROOT, tmp_path / "project", ignore=left_out))


def list_files(folder: Path) -> set[Path]:
    """Everything that the packages need, code or not."""
    return {
        path.relative_to(folder)
        for package in ("components", "pipelines")
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_its_first_cells_install_the_whole_project_and_keep_tensorflow(
    colab: Path, project: Path, tmp_path: Path
) -> None:
    program = f"PROJECT = {str(project)!r}\n{read_cells()[1]}\n" + (
        "import components, importlib.metadata, json\n"
        "from components.mnist.data.sources import SAMPLE\n"
        "tensorflow = importlib.metadata.version('tensorflow')\n"
        "print(json.dumps([tensorflow, components.__file__, SAMPLE.is_file()]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run([colab, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    tensorflow, package, has_sample = json.loads(finished.stdout.splitlines()[-1])
    assert tensorflow == importlib.metadata.version("tensorflow")
    assert Path(package).is_relative_to(colab.parents[1])
    assert list_files(Path(package).parents[1]) == list_files(project)
    assert has_sample


def test_without_an_address_its_first_cells_say_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNIST_PROJECT", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="set PROJECT in the cell above to its address"):
        exec(read_cells()[1], {"PROJECT": ""})
