"""What Kubeflow Pipelines and Argo say of a run while its steps go on, as they really list it.

The API v2beta1 shows each node of Argo's workflow as a task: the run itself, `root`, a driver and a container for each
step; no node's message, no pod, and 1970 for times that have not come. Argo's own workflow has the messages.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

NEVER = "1970-01-01T00:00:00Z"
PHASES = {
    "PENDING": "Pending",
    "RUNNING": "Running",
    "SUCCEEDED": "Succeeded",
    "FAILED": "Failed",
    "ERROR": "Error",  # which Kubeflow Pipelines shows as FAILED
    "SKIPPED": "Skipped",
    "RUNTIME_STATE_UNSPECIFIED": "Omitted",  # Kubeflow Pipelines does not know this phase of Argo's
}


@dataclass(frozen=True)
class Step:
    """Where a step is.

    Attributes:
        state: RUNNING, SUCCEEDED, FAILED; CACHED for outputs of an earlier run, OMITTED when what it needs failed,
            DRIVER_FAILED when it could not be prepared, RETRYING while it waits for its next attempt, VANISHED when its
            pod was deleted with its node: an error to Argo, which it does not retry.
        message: What its container left behind, or why its pod did not start; of every attempt that failed.
        seconds: From its start to its end.
        attempts: How many containers were started; all but the last failed.
    """

    state: str
    message: str = ""
    seconds: int = 10
    attempts: int = 1


@dataclass(frozen=True)
class Node:
    """One of Argo's."""

    name: str
    kind: str
    state: str
    start: datetime
    end: datetime | None
    parent: str = ""
    message: str = ""


def list_nodes(name: str, state: str, started: datetime, steps: Mapping[str, Step]) -> list[Node]:
    """The nodes of a workflow.

    Args:
        name: Of the workflow.
        state: Of the run.
    """
    is_over = state in ("SUCCEEDED", "FAILED", "CANCELED")
    seconds = sum(step.seconds for step in steps.values())
    end = started + timedelta(seconds=seconds + 5) if is_over else None
    nodes = [
        Node(name, "DAG", state, started, end),
        Node("root-driver", "Pod", "SUCCEEDED", started, started + timedelta(seconds=2), name),
        Node("root", "DAG", state, started + timedelta(seconds=2), end, name),
    ]
    at = started + timedelta(seconds=3)
    for step_name, step in steps.items():
        nodes += _list_step(step_name, step, at)
        at += timedelta(seconds=step.seconds)
    return nodes


def _list_step(name: str, step: Step, at: datetime) -> list[Node]:
    end = None if step.state in ("RUNNING", "RETRYING") else at + timedelta(seconds=step.seconds)
    if step.state == "OMITTED":
        omitted = "RUNTIME_STATE_UNSPECIFIED"
        return [Node(each, "Skipped", omitted, at, at, "root") for each in (f"{name}-driver", name)]
    if step.state == "DRIVER_FAILED":
        return [
            Node(f"{name}-driver", "Pod", "FAILED", at, end, "root", step.message),
            Node(name, "Skipped", "RUNTIME_STATE_UNSPECIFIED", at, at, "root"),
        ]
    driver = Node(f"{name}-driver", "Pod", "SUCCEEDED", at, at + timedelta(seconds=1), "root")
    if step.state == "CACHED":
        skipped = Node("executor", "Skipped", "SKIPPED", at, at, name, "when 'true != true' evaluated false")
        return [driver, Node(name, "DAG", "SUCCEEDED", at, end, "root"), skipped]
    state = {"RETRYING": "RUNNING", "VANISHED": "ERROR"}.get(step.state, step.state)
    return [driver, Node(name, "DAG", state, at, end, "root"), *_list_attempts(name, step, state, at, end)]


def _list_attempts(name: str, step: Step, state: str, at: datetime, end: datetime | None) -> list[Node]:
    if step.state == "VANISHED":
        pod = Node("executor(0)", "Pod", "ERROR", at, end, name, "pod deleted")
        return [Node("executor", "Retry", "ERROR", at, end, name, "pod deleted"), pod]
    if step.attempts == 1 and step.state != "RETRYING":
        return [Node("executor", "Pod", step.state, at, end, name, step.message)]
    words = "No more retries left" if step.state == "FAILED" else ""
    nodes = [Node("executor", "Retry", state, at, end, name, words)]
    for attempt in range(step.attempts):
        last = attempt == step.attempts - 1 and step.state != "RETRYING"
        moment = at + timedelta(seconds=attempt)
        shown = step.state if last else "FAILED"
        nodes.append(Node(f"executor({attempt})", "Pod", shown, moment, end if last else moment, name, step.message))
    return nodes


def spell_tasks(run_id: str, created: str, nodes: list[Node]) -> list[dict[str, Any]]:
    """The nodes as the API v2beta1 lists them, in the order of their ids."""
    return [
        {
            "run_id": run_id,
            "task_id": f"{_digits(node):08x}-0000-4000-8000-000000000000",
            "display_name": node.name,
            "create_time": created,
            "start_time": spell_time(node.start),
            "end_time": spell_time(node.end) if node.end else NEVER,
            "state": "FAILED" if node.state == "ERROR" else node.state,
            "child_tasks": [{"pod_name": _id(nodes[0], each)} for each in nodes if each.parent == node.name],
        }
        for node in sorted(nodes, key=_digits)
    ]


def spell_workflow(nodes: list[Node], *, terminated: bool) -> dict[str, Any]:
    """The nodes as Argo writes them into its Workflow."""
    first = nodes[0]
    spelled = {}
    for node in nodes:
        spelled[_id(first, node)] = {
            "id": _id(first, node),
            "displayName": node.name,
            "type": node.kind,
            "phase": PHASES.get(node.state, "Failed"),
            "boundaryID": next((_id(first, each) for each in nodes if node.parent == each.name), ""),
            "startedAt": spell_time(node.start),
            "finishedAt": spell_time(node.end) if node.end else None,
            **({"message": node.message} if node.message else {}),
        }
    failed = first.state in ("FAILED", "CANCELED")
    return {
        "metadata": {"name": first.name},
        "spec": {"entrypoint": "entrypoint", **({"activeDeadlineSeconds": 0} if terminated else {})},
        "status": {
            "phase": PHASES.get(first.state, "Failed"),
            "nodes": spelled,
            **({"message": "failed"} if failed else {}),
        },
    }


def spell_time(moment: datetime) -> str:
    """A time as the server writes it, whole seconds."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _digits(node: Node) -> int:
    return zlib.crc32(f"{node.parent}.{node.name}".encode())


def _id(first: Node, node: Node) -> str:
    return first.name if node is first else f"{first.name}-{_digits(node)}"
