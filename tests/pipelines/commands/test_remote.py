"""Runs on Kubeflow and Vertex AI from the command, as a person meets them; the platforms' state is what counts."""

import json
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from components.mnist.errors import MnistError
from components.mnist.evaluation.step import evaluate_model
from components.mnist.report.step import write_report
from pipelines import cli, parameters, training
from pipelines.steps import STEPS
from tests.fakes.kubeflow.argo import Step
from tests.fakes.kubeflow.doors import TokenDoor
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.kubeflow.state import STEPS as KUBEFLOW_STEPS
from tests.fakes.kubeflow.state import SUCCESS
from tests.fakes.kubeflow.state import fail_at as fail_kubeflow_at
from tests.fakes.project import Project
from tests.fakes.schedule_command import DIGEST, push_images
from tests.fakes.storage_server import StorageServer
from tests.fakes.vertex.runs import fail_at
from tests.fakes.vertex.server import VertexServer

BUCKET = "artifacts-of-runs"
# Of a run on Kubeflow, as far as it is the same for all: each step is seen running, then at its end.
STORY = tuple(
    {
        "state": "RUNNING",
        "steps": {
            name: Step("SUCCEEDED" if place < now else "RUNNING")
            for place, name in enumerate(KUBEFLOW_STEPS[: now + 1])
        },
    }
    for now in range(len(KUBEFLOW_STEPS))
)
DEFAULTS = parameters.read_defaults(training.build(training.Placement()))


class Played(Protocol):
    """A platform that is played, as far as these tests look at it.

    Attributes:
        profile: Its table of mnist.toml, named `there`.
        environment: What lets the command reach it and sign in.
    """

    profile: str
    environment: dict[str, str]

    def runs(self) -> dict[str, dict[str, Any]]:
        """Parameters of every run, by id."""

    def state(self, run_id: str) -> str:
        """Where a run is, in capitals."""

    def fail_at(self, step: str, words: str) -> None:
        """Let runs fail there."""

    def lose_answer(self) -> None:
        """Carry out the next submission, and lose the answer."""

    def be_busy(self) -> None:
        """Refuse the next submission and look with a passing trouble."""

    def expire(self) -> None:
        """Take no credentials any more."""

    def keep(self, folder: Path, storage: StorageServer) -> None:
        """Put the artifacts of a run where the next one's will be looked for."""


class OnVertex:
    """Vertex AI."""

    def __init__(self, server: VertexServer) -> None:
        self.server = server
        self.environment = server.environment
        self.profile = (
            f'[there]\nplatform = "vertex"\nproject = "my-project"\nregion = "europe-west4"\n'
            f'pipeline_root = "gs://{BUCKET}/root"\nendpoint = "{server.endpoint}"\n'
        )

    def runs(self) -> dict[str, dict[str, Any]]:
        return {name: dict(job.runtime_config.parameter_values) for name, job in self.server.jobs.items()}

    def state(self, run_id: str) -> str:
        return self.server.jobs[run_id].state.name.removeprefix("PIPELINE_STATE_")

    def fail_at(self, step: str, words: str) -> None:
        self.server.play(fail_at(step, words))

    def lose_answer(self) -> None:
        self.server.fail("CreatePipelineJob", "cut", carried_out=True)

    def be_busy(self) -> None:
        self.server.fail("CreatePipelineJob", "quota")
        self.server.fail("GetPipelineJob", "unavailable", times=2)

    def expire(self) -> None:
        self.server.sign_in.refusal = (400, {"error": "invalid_grant", "error_description": "Token has been expired."})

    def keep(self, folder: Path, storage: StorageServer) -> None:
        for artifact in folder.glob("*/*"):
            address = f"gs://{BUCKET}/kept/{artifact.parent.name}/{artifact.name}"
            upload(storage, artifact, address)
            self.server.uris[artifact.parent.name, artifact.name] = address


class OnKubeflow:
    """Kubeflow Pipelines, behind a door that wants a token."""

    def __init__(self) -> None:
        self.server = KubeflowServer(namespaces=("team-a",), door=(door := TokenDoor("good-token")))
        self.door = door
        self.server.script(*STORY, SUCCESS)
        self.environment = {"KUBEFLOW_TOKEN": "good-token", "NO_PROXY": "*"}
        self.profile = (
            f'[there]\nplatform = "kubeflow"\nhost = "{self.server.host}"\nnamespace = "team-a"\n'
            f'pipeline_root = "gs://{BUCKET}/root"\nsign_in = {{ method = "token", variable = "KUBEFLOW_TOKEN" }}\n'
        )

    def runs(self) -> dict[str, dict[str, Any]]:
        return {name: dict(run["runtime_config"]["parameters"]) for name, run in self.server.runs.items()}

    def state(self, run_id: str) -> str:
        return str(self.server.runs[run_id]["state"])

    def fail_at(self, step: str, words: str) -> None:
        self.server.script(*STORY[: KUBEFLOW_STEPS.index(step) + 1], fail_kubeflow_at(step, words))

    def lose_answer(self) -> None:
        self.server.fail("CreateRun", "cut-headers")

    def be_busy(self) -> None:
        self.server.fail("CreateRun", "429")
        self.server.fail("GetRun", "503", times=2)

    def expire(self) -> None:
        self.door.tokens.clear()

    def keep(self, folder: Path, storage: StorageServer) -> None:
        """Where they lie has the run's id in it, so they are put there while the run is on its last step."""
        self.server.script(*STORY)

        def wait_for_it() -> None:
            while not self.server.runs:
                time.sleep(0.01)
            [run_id] = self.server.runs
            for artifact in folder.glob("*/*"):
                place = f"mnist-training/{run_id}/{artifact.parent.name}/7f6b2c1e-salt/{artifact.name}"
                upload(storage, artifact, f"gs://{BUCKET}/root/{place}")
            while len(self.server.state.scenes) > 1:  # each step is to be seen running, however slow the looks are
                time.sleep(0.01)
            self.server.script(STORY[-1], SUCCESS)

        threading.Thread(target=wait_for_it, daemon=True).start()


@pytest.fixture
def kubeflow() -> Iterator[OnKubeflow]:
    played = OnKubeflow()
    with played.server:
        yield played


@pytest.fixture
def vertex(tmp_path: Path) -> Iterator[OnVertex]:
    folder = tmp_path / "google"
    folder.mkdir()
    with VertexServer(folder) as server:
        yield OnVertex(server)


@pytest.fixture(params=["kubeflow", "vertex"])
def platform(request: pytest.FixtureRequest) -> Played:
    return request.getfixturevalue(request.param)


@pytest.fixture
def here(platform: Played, tmp_path: Path) -> Path:
    """The folder that the command is run in."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "mnist.toml").write_text(platform.profile, encoding="utf-8")
    return folder


@pytest.fixture
def mnist(project: Project, platform: Played, here: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return project.run(*words, folder=here, environment=platform.environment)

    return run


@pytest.fixture(scope="session")
def artifacts(linear_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a real run leaves: a folder for each step, an artifact in each."""
    root = tmp_path_factory.mktemp("artifacts")
    shutil.copytree(linear_run / "model", root / "train" / "model")
    evaluate_model(
        model_folder=linear_run / "model",
        test_folder=linear_run / "test",
        metrics_folder=root / "evaluate" / "metrics",
        predictions_folder=root / "evaluate" / "predictions",
    )
    (root / "visualize").mkdir()
    write_report(
        model_folder=linear_run / "model",
        history_folder=linear_run / "history",
        metrics_folder=root / "evaluate" / "metrics",
        predictions_folder=root / "evaluate" / "predictions",
        training_folder=linear_run / "training",
        validation_folder=linear_run / "validation",
        test_folder=linear_run / "test",
        report_file=root / "visualize" / "report",
        summary_file=root / "visualize" / "summary",
        figures_folder=root / "visualize" / "figures",
    )
    return root


def upload(storage: StorageServer, artifact: Path, address: str) -> None:
    """Put a file, or everything in a folder, to an address in the bucket."""
    import google.cloud.storage
    from google.auth.credentials import AnonymousCredentials

    client = google.cloud.storage.Client(
        project="none", credentials=AnonymousCredentials(), client_options={"api_endpoint": storage.address}
    )
    bucket = client.bucket(BUCKET)
    if not bucket.exists():
        bucket.create()
    prefix = address.removeprefix(f"gs://{BUCKET}/")
    for file in [artifact] if artifact.is_file() else [file for file in artifact.rglob("*") if file.is_file()]:
        name = prefix if artifact.is_file() else f"{prefix}/{file.relative_to(artifact).as_posix()}"
        bucket.blob(name).upload_from_filename(str(file))


def record(here: Path) -> dict[str, Any]:
    return json.loads((here / "runs" / "latest" / "run.json").read_text(encoding="utf-8"))


def test_a_run_is_followed_to_its_end_and_its_report_fetched(
    mnist: Callable[..., subprocess.CompletedProcess[str]],
    platform: Played,
    here: Path,
    artifacts: Path,
    storage_server: StorageServer,
) -> None:
    platform.keep(artifacts, storage_server)
    finished = mnist("run", "--on", "there", "source=sample", "epochs=3")
    assert finished.returncode == 0, finished.stderr
    [(run_id, sent)] = platform.runs().items()
    assert sent == DEFAULTS | {"source": "sample", "epochs": 3}
    assert f"run   {run_id}" in finished.stdout
    assert re.search(rf"page  https?://\S+{run_id}", finished.stdout)
    told = re.findall(r"\d\d:\d\d:\d\d  (\w+) +(\w+)", finished.stdout)
    for step in STEPS:
        states = [state for name, state in told if name == step]
        assert states[-1] == "succeeded"
        assert "running" in states
        assert len(set(states)) == len(states)  # a line when a state changes, not at each look
    measured = json.loads((artifacts / "evaluate/metrics/metrics.json").read_text(encoding="utf-8"))
    assert f"test accuracy        {measured['accuracy']:.2%}" in finished.stdout
    report = here / re.search(r"report  (\S+)", finished.stdout)[1]  # type: ignore[index]
    assert report.read_bytes() == (artifacts / "visualize/report").read_bytes()
    assert sorted(file.name for file in (report.parent / "figures").iterdir()) == sorted(
        file.name for file in (artifacts / "visualize/figures").iterdir()
    )
    kept = record(here)
    assert (kept["state"], kept["run_id"], kept["on"]) == ("succeeded", run_id, "there")
    assert kept["parameters"]["epochs"] == 3


def test_a_failing_run_ends_with_the_steps_own_words_and_exit_code_1(
    mnist: Callable[..., subprocess.CompletedProcess[str]], platform: Played, here: Path
) -> None:
    platform.fail_at(
        "train", 'main: Error (exit code 1): {\n "error": "DataError",\n "message": "no \\"ink\\".",\n "exp'
    )
    finished = mnist("run", "--on", "there")
    assert finished.returncode == 1
    assert 'failed: train: no "ink".' in finished.stderr
    assert "page: http" in finished.stderr
    assert record(here)["state"] == "failed"
    assert not re.search(r"evaluate +(running|succeeded)", finished.stdout)


def test_without_waiting_it_is_only_submitted_and_can_be_followed_and_cancelled_later(
    mnist: Callable[..., subprocess.CompletedProcess[str]], platform: Played, here: Path
) -> None:
    submitted = mnist("run", "--on", "there", "--no-wait")
    assert submitted.returncode == 0, submitted.stderr
    [run_id] = platform.runs()
    assert f"follow it: mnist follow {run_id} --on there" in submitted.stdout
    assert platform.state(run_id) == "PENDING"
    cancelled = mnist("cancel", run_id, "--on", "there")
    assert cancelled.returncode == 0, cancelled.stderr
    followed = mnist("follow", run_id, "--on", "there")
    assert followed.returncode == 3
    assert "cancelled" in followed.stderr
    assert record(here)["state"] == "cancelled"
    again = mnist("cancel", run_id, "--on", "there")
    assert again.returncode == 0
    assert again.stdout.startswith("The run has already ended (cancelled): http")
    assert list(platform.runs()) == [run_id]


def test_an_answer_that_is_lost_makes_no_second_run(
    mnist: Callable[..., subprocess.CompletedProcess[str]], platform: Played
) -> None:
    platform.lose_answer()
    finished = mnist("run", "--on", "there", "--no-wait")
    assert finished.returncode == 0, finished.stderr
    assert len(platform.runs()) == 1


def test_a_busy_platform_is_tried_again(
    mnist: Callable[..., subprocess.CompletedProcess[str]], platform: Played, storage_server: StorageServer
) -> None:
    assert storage_server.address  # where the artifacts are looked for; there are none
    platform.be_busy()
    finished = mnist("run", "--on", "there")
    assert finished.returncode == 0, finished.stderr
    assert len(platform.runs()) == 1


def test_expired_credentials_say_so(
    mnist: Callable[..., subprocess.CompletedProcess[str]], platform: Played, here: Path
) -> None:
    platform.expire()
    finished = mnist("run", "--on", "there")
    assert finished.returncode == 1
    assert re.search("expired", finished.stderr, re.IGNORECASE)
    assert platform.runs() == {}
    assert not (here / "runs" / "latest").exists()


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_go_on(project: Project, platform: Played, here: Path) -> None:
    process = project.start("run", "--on", "there", folder=here, environment=platform.environment, poll_seconds=30)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("page"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    [run_id] = platform.runs()
    assert process.returncode == 130
    assert "the run continues" in errors
    assert f"mnist cancel {run_id} --on there" in errors
    assert platform.state(run_id) in ("PENDING", "RUNNING")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "--on", "there", "epochs=0"), "epochs=0: expected 1 to 1000."),
        (("run", "--on", "there", "source=./mine"), "a path of this machine, which a platform cannot read"),
        (("run", "--on", "thre"), "--on thre: no such runner, and no such profile in mnist.toml; did you mean there?"),
        (("step", "evaluate", "--on", "there"), "single steps run on this machine; expected local or docker."),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_sent(
    platform: Played, here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(here)
    push_images(monkeypatch, DIGEST)
    with pytest.raises(MnistError, match=re.escape(expected)) as refusal:
        cli.app(words, standalone_mode=False)
    assert len(str(refusal.value).splitlines()) == 1
    assert platform.runs() == {}


def test_a_run_that_is_not_there_cannot_be_followed(
    mnist: Callable[..., subprocess.CompletedProcess[str]], here: Path
) -> None:
    finished = mnist("follow", "mnist-training-none", "--on", "there")
    assert finished.returncode == 1
    assert "mnist-training-none" in finished.stderr
    assert not (here / "runs").exists()
