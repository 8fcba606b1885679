"""Read details of a run from Argo, which runs the steps for Kubeflow Pipelines.

The API v2beta1 lacks them: why a step failed, whether its outputs came from the cache, and whether the run was
cancelled. The API v1beta1 of the same server, where it still exists, returns Argo's Workflow.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAILED = ("Failed", "Error")
POD_DELETED = "pod deleted"  # Argo's whole message for a pod that disappeared
NOT_RETRIED = (
    "its pod was deleted, for instance with its node; Kubeflow Pipelines does not retry that. Submit the run again."
)


@dataclass(frozen=True)
class Workflow:
    """An Argo Workflow.

    Attributes:
        spec, status: As in Argo's manifest.
    """

    spec: Mapping[str, Any]
    status: Mapping[str, Any]

    @property
    def was_terminated(self) -> bool:
        """Whether Kubeflow Pipelines terminated the workflow, by a deadline of 0 seconds."""
        return self.spec.get("activeDeadlineSeconds") == 0

    @property
    def message(self) -> str:
        """Reason for the failure of the workflow as a whole."""
        return self.status.get("message") or ""

    def find_message(self, step: str) -> str:
        """Find why a step's last attempt failed: its termination message, or why its pod did not start."""
        nodes = [node for node in self._list_nodes(step) if node.get("phase") in FAILED and node.get("message")]
        # The node around the attempts has a less specific message.
        nodes = [node for node in nodes if node.get("type") in ("Pod", "Plugin")] or nodes
        last = max(nodes, key=lambda node: (node.get("finishedAt") or "", node.get("displayName") or ""), default={})
        message = last.get("message", "")
        return NOT_RETRIED if message == POD_DELETED else message

    def is_cached(self, step: str) -> bool:
        """Whether the outputs of a step came from an earlier run: its container was then skipped."""
        phases = [node.get("phase") for node in self._list_nodes(step) if node.get("displayName") == "executor"]
        return phases == ["Skipped"]

    def _list_nodes(self, step: str) -> list[Mapping[str, Any]]:
        """List a step's nodes: its driver, itself, and those within it."""
        nodes = list(dict(self.status.get("nodes") or {}).values())
        own = [node for node in nodes if node.get("displayName") in (step, f"{step}-driver")]
        ids = {node.get("id") for node in own}
        return own + [node for node in nodes if node.get("boundaryID") in ids]


UNKNOWN = Workflow({}, {})


def read_workflow(run: Any) -> Workflow:
    """Read the Workflow from an answer of `GET /apis/v1beta1/runs/{id}`; UNKNOWN if it has none."""
    try:
        manifest = json.loads(run["pipeline_runtime"]["workflow_manifest"])
        return Workflow(manifest.get("spec") or {}, manifest.get("status") or {})
    except (KeyError, TypeError, ValueError, AttributeError):
        return UNKNOWN
