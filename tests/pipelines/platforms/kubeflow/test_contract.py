"""The played Kubeflow Pipelines refuses what the real one refuses: else tests against it would prove nothing."""

import copy
import json
from typing import Any

import pytest
import requests

from tests.fakes.kubeflow.jobs import new_job
from tests.fakes.kubeflow.server import KubeflowServer

API = "/apis/v2beta1"


@pytest.fixture
def experiment(kubeflow_server: KubeflowServer) -> str:
    answer = post(kubeflow_server, "experiments", {"display_name": "digits", "namespace": "team-a"})
    return str(answer.json()["experiment_id"])


def post(server: KubeflowServer, path: str, content: Any) -> requests.Response:
    return requests.post(f"{server.host}{API}/{path}", json=content, timeout=300)


def get(server: KubeflowServer, path: str, **query: str) -> requests.Response:
    return requests.get(f"{server.host}{API}/{path}", params=query, timeout=300)


def new_run(experiment: str, **more: Any) -> dict[str, Any]:
    return {
        "display_name": "run-1",
        "experiment_id": experiment,
        "pipeline_spec": new_job().documents[0],
        "runtime_config": {"parameters": {"epochs": 2}},
        **more,
    }


def new_recurring_run(experiment: str, **more: Any) -> dict[str, Any]:
    trigger = {"cron_schedule": {"cron": "0 0 6 * * 1"}}
    return {**new_run(experiment), "max_concurrency": "1", "trigger": trigger, "mode": "ENABLE", **more}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unknown": 1}, 'unknown field "unknown"'),
        ({"display_name": 5}, "invalid value 5"),
        ({"run_id": "mine"}, "only the server writes run_id"),
        ({"state": "SUCCEEDED"}, "only the server writes state"),
        ({"experiment_id": "elsewhere"}, "Experiment elsewhere not found"),
        ({"pipeline_spec": None}, "pipeline spec is empty"),
        ({"pipeline_spec": {"unknown": {}}}, "Failed to parse the pipeline spec"),
        ({"pipeline_spec": {"pipelineInfo": {"name": ""}}}, "name is empty"),
        ({"pipeline_spec": {"pipeline_spec": {}, "other": {}}}, "unknown documents"),
        ({"runtime_config": {"parameters": {"epoch": 1}}}, "epoch is not defined"),
        ({"runtime_config": {"parameters": {"epochs": 2.5}}}, "epochs has 2.5"),
        ({"runtime_config": {"parameters": {"epochs": True}}}, "epochs has True"),
        ({"runtime_config": {"parameters": {"require_gpu": "true"}}}, "require_gpu has 'true'"),
        ({"runtime_config": {"root": "gs://x"}}, 'unknown field "root"'),
    ],
)
def test_a_run_is_checked(change: dict[str, Any], words: str, kubeflow_server: KubeflowServer, experiment: str) -> None:
    answer = post(kubeflow_server, "runs", new_run(experiment, **change))
    assert answer.status_code in (400, 404)
    assert words in answer.json()["message"]
    assert kubeflow_server.runs == {}


def test_a_platform_spec_is_checked(kubeflow_server: KubeflowServer, experiment: str) -> None:
    pipeline, platform = copy.deepcopy(new_job(with_platform=True).documents)
    both = {"pipeline_spec": pipeline, "platform_spec": platform}
    assert post(kubeflow_server, "runs", new_run(experiment, pipeline_spec=both)).status_code == 200
    executors: dict[str, Any] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]  # type: ignore[index]
    next(iter(executors.values()))["nodeSelectors"] = {}
    answer = post(kubeflow_server, "runs", new_run(experiment, pipeline_spec=both))
    assert answer.status_code == 400
    assert "nodeSelectors" in answer.json()["message"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_concurrency": "0"}, "at least 1 and at most 10"),
        ({"max_concurrency": "11"}, "at least 1 and at most 10"),
        ({"max_concurrency": "many"}, "invalid int64"),
        ({"trigger": {}}, "expected a cron schedule"),
        ({"mode": "ENABLED"}, "invalid value for enum"),
        ({"no_catchup": "yes"}, "invalid value 'yes'"),
        ({"description": "d" * 256}, "Data too long"),
        ({"trigger": {"cron_schedule": {"cron": "0 6 * * 1"}}}, "expected 6 fields, found 5"),
        ({"trigger": {"cron_schedule": {"cron": "0 0 6 * * 7"}}}, "Error: 7"),
        ({"trigger": {"cron_schedule": {"cron": "0 0 24 * * 1"}}}, "Error: 24"),
        ({"trigger": {"cron_schedule": {"cron": "0 0 6 0 * 1"}}}, "Error: 0"),
        ({"trigger": {"cron_schedule": {"cron": "0 5-2 6 * * 1"}}}, "Error: 5-2"),
        ({"trigger": {"cron_schedule": {"cron": "TZ=UTC 0 0 6 * * 1"}}}, "expected 6 fields"),
        ({"trigger": {"cron_schedule": {"cron": "0 0 6 * * 1", "start_time": "2026-01-01T00:00:00"}}}, "Timestamp"),
    ],
)
def test_a_recurring_run_is_checked(
    change: dict[str, Any], words: str, kubeflow_server: KubeflowServer, experiment: str
) -> None:
    answer = post(kubeflow_server, "recurringruns", new_recurring_run(experiment, **change))
    assert answer.status_code in (400, 500)
    assert words in answer.json()["message"]
    assert kubeflow_server.recurring_runs == {}


def test_the_reference_requests_are_taken(kubeflow_server: KubeflowServer, experiment: str) -> None:
    assert post(kubeflow_server, "runs", new_run(experiment)).status_code == 200
    assert post(kubeflow_server, "recurringruns", new_recurring_run(experiment)).status_code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "empty namespace"),
        ({"namespace": "team-b"}, "not authorized in the namespace team-b"),
        ({"namespace": "team-a", "size": "3"}, "unknown query parameters"),
        ({"namespace": "team-a", "sort_by": "colour"}, "Cannot sort on field colour"),
        ({"namespace": "team-a", "filter": "{"}, "failed to parse valid filter"),
        ({"namespace": "team-a", "filter": '{"predicates": [{"key": "colour", "operation": "EQUALS"}]}'}, "colour"),
        ({"namespace": "team-a", "page_token": "abc"}, "Invalid package token"),
    ],
)
def test_a_list_is_checked(query: dict[str, str], words: str, kubeflow_server: KubeflowServer) -> None:
    answer = get(kubeflow_server, "experiments", **query)
    assert answer.status_code in (400, 403)
    assert words in answer.json()["message"]


def test_pages_go_on_where_the_last_ended_and_only_for_the_same_question(
    kubeflow_server: KubeflowServer, experiment: str
) -> None:
    for number in range(5):
        post(kubeflow_server, "runs", new_run(experiment, display_name=f"run-{number}"))
    how = {"experiment_id": experiment, "page_size": "2", "sort_by": "display_name desc"}
    names, token = [], ""
    while True:
        page = get(kubeflow_server, "runs", **how, page_token=token).json()
        names += [run["display_name"] for run in page["runs"]]
        if not (token := page.get("next_page_token", "")):
            break
        last = token
    assert names == [f"run-{number}" for number in (4, 3, 2, 1, 0)]
    assert page["total_size"] == 5
    other = get(kubeflow_server, "runs", experiment_id=experiment, sort_by="created_at", page_token=last)
    assert "does not match" in other.json()["message"]


def test_a_filter_is_decoded_once_more_as_the_real_server_does(
    kubeflow_server: KubeflowServer, experiment: str
) -> None:
    post(kubeflow_server, "runs", new_run(experiment, display_name="a b"))
    text = json.dumps({"predicates": [{"key": "display_name", "operation": 1, "stringValue": "a+b"}]})
    assert [
        run["display_name"]
        for run in get(kubeflow_server, "runs", experiment_id=experiment, filter=text).json()["runs"]
    ] == ["a b"]


def test_an_experiment_is_there_once(kubeflow_server: KubeflowServer, experiment: str) -> None:
    assert post(kubeflow_server, "experiments", {"display_name": "digits", "namespace": "team-a"}).status_code == 409
    assert post(kubeflow_server, "experiments", {"display_name": "digits", "namespace": "team-b"}).status_code == 403
    assert len(kubeflow_server.experiments) == 1


def test_without_profiles_a_namespace_is_refused() -> None:
    with KubeflowServer() as server:
        answer = post(server, "experiments", {"display_name": "digits", "namespace": "team-a"})
        assert (answer.status_code, server.experiments) == (400, {})


def test_a_run_that_has_ended_cannot_be_terminated(kubeflow_server: KubeflowServer, experiment: str) -> None:
    id = post(kubeflow_server, "runs", new_run(experiment)).json()["run_id"]
    assert post(kubeflow_server, f"runs/{id}:terminate", None).json() == {}
    again = post(kubeflow_server, f"runs/{id}:terminate", None)
    assert (again.status_code, again.json()["message"]) == (
        400,
        f"Invalid input error: Failed to terminate a run {id}. Row not found",
    )


def test_what_nobody_plays_is_not_found(kubeflow_server: KubeflowServer) -> None:
    assert get(kubeflow_server, "pipelines").status_code == 404
    assert requests.get(kubeflow_server.origin, timeout=300).text.startswith("<!DOCTYPE html>")
