"""Runs in their experiment, against a played Vertex ML Metadata."""

import pytest
from google.cloud.aiplatform_v1.types import Context

from pipelines.compilation import Job
from pipelines.platforms.vertex import experiments
from tests.fakes.vertex.runs import Scene
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.vertex.clients import connect

PARENT = "projects/123456789012/locations/europe-west4/metadataStores/default/contexts"


def test_a_run_is_added_to_its_experiment_which_is_made(server: VertexServer, job: Job) -> None:
    connect(server, experiment="digits").submit(job, name="mnist-1")
    assert server.contexts["digits"].schema_title == "system.Experiment"
    assert server.contexts["digits"].metadata == {"experiment_deleted": False}
    assert list(server.contexts["mnist-1"].parent_contexts) == [f"{PARENT}/digits"]


def test_runs_share_an_experiment(server: VertexServer, job: Job) -> None:
    platform = connect(server, experiment="digits")
    for name in ("mnist-1", "mnist-2"):
        platform.submit(job, name=name)
    parents = [list(server.contexts[name].parent_contexts) for name in ("mnist-1", "mnist-2")]
    assert parents == [[f"{PARENT}/digits"]] * 2


def test_without_an_experiment_none_is_made(server: VertexServer, job: Job) -> None:
    connect(server).submit(job, name="mnist-1")
    assert "digits" not in server.contexts


@pytest.mark.parametrize("kind", ["quota", "internal", "unavailable", "late", "cut"])
@pytest.mark.parametrize("method", ["GetContext", "CreateContext", "AddContextChildren"])
@pytest.mark.parametrize("carried_out", [False, True])
def test_transient_faults_are_got_over(
    server: VertexServer, job: Job, method: str, kind: str, carried_out: bool
) -> None:
    server.fail(method, kind, carried_out=carried_out)
    connect(server, experiment="digits").submit(job, name="mnist-1")
    assert list(server.contexts["mnist-1"].parent_contexts) == [f"{PARENT}/digits"]


@pytest.mark.parametrize("kind", ["invalid", "unauthenticated", "denied", "missing", "exists"])
@pytest.mark.parametrize("method", ["GetContext", "CreateContext", "AddContextChildren"])
def test_a_refusal_does_not_fail_the_run(
    server: VertexServer, job: Job, method: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail(method, kind, times=None)
    assert connect(server, experiment="digits").submit(job, name="mnist-1") == "mnist-1"
    said = capsys.readouterr().out
    if (method, kind) == ("GetContext", "missing"):
        assert list(server.contexts["mnist-1"].parent_contexts) == [f"{PARENT}/digits"]
        return
    assert said.startswith("The run continues, but is not shown in the experiment digits: Vertex AI (my-project")
    assert not server.contexts["mnist-1"].parent_contexts
    assert len(server.jobs) == 1


def test_a_run_that_is_never_entered_into_the_metadata_is_reported(
    server: VertexServer, job: Job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "CONTEXT_SECONDS", 0.05)
    server.play([Scene("PENDING")])
    connect(server, experiment="digits").submit(job, name="mnist-1")
    assert "Vertex AI did not add the run to its metadata within 0.05 seconds." in capsys.readouterr().out


def test_the_name_of_something_else_is_no_experiment(
    server: VertexServer, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    server.contexts["digits"] = Context(name=f"{PARENT}/digits", schema_title="system.PipelineRun")
    connect(server, experiment="digits").submit(job, name="mnist-1")
    said = capsys.readouterr().out
    assert "digits is the name of something else in the metadata (system.PipelineRun)" in said
    assert len(server.jobs) == 1
