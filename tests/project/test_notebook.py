"""The notebook, run whole as Jupyter runs it, and its first cells as Colab meets them."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from pipelines import parameters, training

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "CNN_mnist.ipynb"


def read_cells() -> list[str]:
    """The code of every code cell."""
    return [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def test_it_runs_from_top_to_bottom_and_shows_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_SOURCE", "sample")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 6
    assert any("225,034" in output.get("text", "") + str(output.get("data", "")) for output in outputs)
    assert json.loads((tmp_path / "notebook-run" / "metrics" / "metrics.json").read_text())["accuracy"] >= 0.96
    assert (tmp_path / "notebook-run" / "report.html").is_file()


def test_its_settings_are_the_pipelines_defaults() -> None:
    cell = next(source for source in read_cells() if "TRAIN = {" in source)
    settings: dict[str, dict] = {}
    exec(cell, {"os": os}, settings)
    defaults = parameters.read_defaults(training.build(training.Placement()))
    own = settings["INGEST"] | settings["TRAIN"]
    assert own == {name: value for name, value in defaults.items() if name != "source"}


def test_it_is_committed_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code")


@pytest.fixture
def colab(tmp_path: Path) -> Path:
    """A Python as Colab has it: TensorFlow and much else is there, the project is not."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "colab"], check=True)
    python = tmp_path / "colab" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # The packages of this environment, without its own .pth files: those would bring the project.
    Path(site.stdout.strip(), "brought.pth").write_text(sysconfig.get_path("purelib") + "\n")
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


def set_up(python: Path, folder: Path, project: str) -> subprocess.CompletedProcess[str]:
    """Run the cells that install the project, then say what is there."""
    cells = read_cells()
    program = "\n".join(
        [
            f"PROJECT = {project!r}",
            cells[1],
            "import importlib.metadata, components, tensorflow",
            "from components.mnist.data.sources import SAMPLE",
            "print(importlib.metadata.version('tensorflow'), components.__file__, SAMPLE.is_file())",
        ]
    )
    return subprocess.run([python, "-c", program], cwd=folder, capture_output=True, text=True)


def test_its_first_cells_install_the_whole_project_and_keep_tensorflow(
    colab: Path, project: Path, tmp_path: Path
) -> None:
    version = subprocess.run(
        [colab, "-c", "import importlib.metadata as m; print(m.version('tensorflow'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    finished = set_up(colab, tmp_path, str(project))
    assert finished.returncode == 0, finished.stderr
    found, where, sample = finished.stdout.split()[-3:]
    assert found == version
    assert Path(where).is_relative_to(colab.parents[1])
    assert list_files(Path(where).parents[1]) == list_files(project)
    assert sample == "True"


def test_without_an_address_its_first_cells_say_what_to_set(colab: Path, tmp_path: Path) -> None:
    finished = set_up(colab, tmp_path, "")
    assert finished.returncode == 1
    assert "set PROJECT in the cell above to its address" in finished.stderr
