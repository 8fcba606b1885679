"""What `mnist follow` says of runs on a played Kubeflow Pipelines that did not simply succeed or fail."""

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console

from pipelines.commands import remote
from pipelines.platforms.kubeflow import client
from tests.fakes.kubeflow.argo import Step
from tests.fakes.kubeflow.jobs import new_job, new_profile
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.kubeflow.state import SUCCESS

WORDS = "no GPU was found. Set require_gpu."


def follow(server: KubeflowServer, run_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The exit code of the command, and all that it writes."""
    written = io.StringIO()
    for name in ("console", "errors"):
        monkeypatch.setattr(remote, name, Console(file=written, highlight=False, width=1000))
    profiles = folder / "mnist.toml"
    profiles.write_text(f'[there]\nplatform = "kubeflow"\nhost = "{server.host}"\nnamespace = "team-a"\n')
    try:
        remote.follow_run(run_id, "there", runs=folder / "runs", profiles=profiles)
    except typer.Exit as ended:
        return ended.exit_code, written.getvalue()
    return 0, written.getvalue()


def test_a_run_that_was_cancelled_after_a_step_had_failed_is_cancelled_not_failed(
    kubeflow_server: KubeflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = client.Kubeflow(new_profile(kubeflow_server))
    run_id = platform.submit(new_job(), name="mnist-training-1")
    steps = {"ingest": Step("SUCCEEDED"), "train": Step("RETRYING", WORDS)}
    kubeflow_server.script({"state": "RUNNING", "steps": steps})
    platform.read_run(run_id)
    platform.cancel(run_id)
    code, written = follow(kubeflow_server, run_id, tmp_path, monkeypatch)
    assert code == remote.CANCELLED
    assert written.splitlines()[-1] == "cancelled, after train had failed"
    record = next((tmp_path / "runs").glob("*/run.json")).read_text(encoding="utf-8")
    assert '"cancelled"' in record
    assert WORDS not in record


def test_without_a_bucket_the_command_says_where_the_metrics_are(
    kubeflow_server: KubeflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = client.Kubeflow(new_profile(kubeflow_server))
    run_id = platform.submit(new_job(), name="mnist-training-1")
    kubeflow_server.script(SUCCESS)
    code, written = follow(kubeflow_server, run_id, tmp_path, monkeypatch)
    assert code == 0
    assert "they are not in a gs:// bucket (pipeline_root in the profile)" in written
    assert f"log of its step evaluate: {platform.link(run_id)}" in written
