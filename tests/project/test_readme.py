"""The README's way from nothing to a scheduled run, walked on each platform as far as the `mnist` command leads."""

import re
import shlex
from pathlib import Path

import pytest

from pipelines.container_images import ROOT
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.kubeflow.state import SUCCESS
from tests.fakes.project import Project
from tests.fakes.storage_server import StorageServer
from tests.fakes.vertex.server import VertexServer

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "mnist.example.toml").read_text(encoding="utf-8")


def read_walk(platform: str) -> list[list[str]]:
    """The words of each `mnist` command in the numbered block of a platform."""
    block = README.partition(f"### From nothing to a scheduled run on {platform}\n")[2].split("```")[1]
    assert re.findall(r"(?m)^# (\d)\. ", block) == [
        str(number + 1) for number in range(len(re.findall("(?m)^# ", block)))
    ]
    return [shlex.split(line)[1:] for line in block.splitlines() if line.startswith(".venv/bin/mnist ")]


def set_keys(text: str, **keys: str) -> str:
    """Fill in the example as the README says, or take a key out of its comment."""
    for key, value in keys.items():
        text, count = re.subn(rf"(?m)^(# )?{key} = .*$", f"{key} = {value}", text, count=1)
        assert count == 1, key
    return text


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


def walk(project: Project, platform: str, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Run every command in turn; what each printed, by its words."""
    told = {}
    for words in read_walk(platform):
        finished = project.run(*words, folder=folder, environment=environment)
        # The doctor finds what is played: a registry that is not there, a bucket without permissions.
        assert finished.returncode == 0 or words[0] == "doctor", finished.stderr
        assert "Traceback" not in finished.stderr
        told[" ".join(words)] = finished.stdout
    return told


def test_kubeflow(project: Project, tmp_path: Path) -> None:
    with KubeflowServer(namespaces=("team-a",), path="/pipeline") as server:
        server.script(SUCCESS)
        text = set_keys(EXAMPLE, host=f'"{server.host}"', sign_in='{ method = "none" }')
        (tmp_path / "mnist.toml").write_text(text, encoding="utf-8")
        told = walk(project, "Kubeflow", tmp_path, {"NO_PROXY": "*"})
        [run] = server.runs.values()
        [recurring] = server.recurring_runs.values()
    assert run["runtime_config"]["parameters"]["source"] == "sample"
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert "nightly" in told["schedule list --on cluster"]
    assert "ok           namespace" in told["doctor --on cluster"]


def test_vertex_ai(project: Project, storage_server: StorageServer, tmp_path: Path) -> None:
    (tmp_path / "google").mkdir()
    with VertexServer(tmp_path / "google") as server:
        text = set_keys(EXAMPLE, endpoint=f'"{server.endpoint}"')
        (tmp_path / "mnist.toml").write_text(text, encoding="utf-8")
        told = walk(project, "Vertex AI", tmp_path, server.environment)
        [job] = server.jobs.values()
        [schedule] = server.schedules.values()
    assert job.runtime_config.parameter_values["source"] == "sample"
    assert schedule.cron == "TZ=Europe/Berlin 30 5 * * 1"
    assert "weekly" in told["schedule list --on vertex"]
