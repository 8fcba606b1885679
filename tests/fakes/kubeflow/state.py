"""The state of a played Kubeflow Pipelines: experiments, runs, recurring runs, and the controller that starts runs."""

import base64
import json
import secrets
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api
from cronsim import CronSim

from pipelines import steps
from tests.fakes.kubeflow.argo import NEVER, Step, list_nodes, spell_tasks, spell_time, spell_workflow
from tests.fakes.kubeflow.contract import Refusal, check_cron, check_pipeline, matches, read_filter, read_model, require

DEFAULT_PAGE, LARGEST_PAGE = 20, 200
FIELDS = ("display_name", "created_at", "description")
STEPS = tuple(steps.STEPS)
LONGEST_DESCRIPTION = 255  # of a recurring run, in the older versions' database
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
# Scenes for `KubeflowServer.script`.
START: dict[str, Any] = {"state": "RUNNING", "steps": {"ingest": Step("RUNNING")}}
HALF: dict[str, Any] = {"state": "RUNNING", "steps": {"ingest": Step("SUCCEEDED"), "train": Step("RUNNING")}}
SUCCESS: dict[str, Any] = {"state": "SUCCEEDED", "steps": {name: Step("SUCCEEDED") for name in STEPS}}


def fail_at(step: str, message: str = "", *, state: str = "FAILED") -> dict[str, Any]:
    """A scene: a step fails, or comes to another state that ends the run; those after it are not started."""
    order = STEPS.index(step)
    states = {name: "SUCCEEDED" if STEPS.index(name) < order else "OMITTED" for name in STEPS}
    steps = {name: Step(each) for name, each in states.items()}
    return {"state": "FAILED", "steps": {**steps, step: Step(state, message)}}


class State:
    """What a server remembers; `take` carries out a call.

    Attributes:
        experiments, runs, recurring_runs: By id, JSON as it is answered.
        scenes: What runs go through, see `show`.
        time_zone: Of the controller.
        has_v1: Whether the older API is still there.
        version: Of the server, as it gives it.
    """

    def __init__(self, namespaces: tuple[str, ...]) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring_runs: dict[str, dict[str, Any]] = {}
        self.scenes: list[Mapping[str, Any]] = []
        self.time_zone = "UTC"
        self.has_v1 = True
        self.version = "2.17.0"
        self._namespaces = namespaces
        self._steps: dict[str, Mapping[str, Step]] = {}
        self._terminated: set[str] = set()
        self._triggered: dict[str, datetime] = {}
        self._clock = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=100)

    def take(self, name: str, arguments: tuple[str, ...], query: dict[str, str], content: Any) -> Any:
        """Carry out a call of `kubeflow_server.ROUTES`."""
        methods: dict[str, Callable[..., Any]] = {
            "GetHealthz": self._get_health,
            "ListExperiments": lambda: self._list(self.experiments, "Experiments", query),
            "CreateExperiment": lambda: self._create_experiment(read_model("V2beta1Experiment", content)),
            "GetExperiment": lambda id: _find(self.experiments, id, "Experiment"),
            "ListRuns": lambda: self._list(self.runs, "Runs", query),
            "CreateRun": lambda: self._create_run(read_model("V2beta1Run", content)),
            "GetRun": self._get_run,
            "TerminateRun": self._terminate,
            "GetRunV1": self._get_workflow,
            "ListRecurringRuns": lambda: self._list(self.recurring_runs, "RecurringRuns", query),
            "CreateRecurringRun": lambda: self._create_recurring_run(read_model("V2beta1RecurringRun", content)),
            "GetRecurringRun": lambda id: _find(self.recurring_runs, id, "Recurring run"),
            "EnableRecurringRun": lambda id: self._switch(id, "ENABLE"),
            "DisableRecurringRun": lambda id: self._switch(id, "DISABLE"),
            "DeleteRecurringRun": self._delete_recurring_run,
        }
        return methods[name](*arguments)

    def _get_health(self) -> dict[str, Any]:
        has_users = bool(self._namespaces)
        return {
            "commit_sha": "unknown",
            "tag_name": self.version,
            "multi_user": has_users,
            "pipeline_store": "database",
        }

    def show(self, run_id: str, state: str, steps: Mapping[str, Step] | None = None, **more: Any) -> None:
        """Put a run into the state that a scene has.

        Args:
            state: Of the run, as the API names it.
            steps: How far each step is; those that have not begun are left out.
            more: Other fields of the run, as `error`.
        """
        run = self.runs[run_id]
        self._steps[run_id] = steps or {}
        run.update(more, state=state, finished_at=spell_time(datetime.now(UTC)) if state in ENDED else NEVER)
        run["state_history"].append({"update_time": spell_time(datetime.now(UTC)), "state": state})
        if steps:
            run["run_details"] = {"task_details": spell_tasks(run_id, run["created_at"], self._nodes(run_id))}

    def tick(self, now: datetime) -> list[str]:
        """Let the controller start what is due, as it does every few seconds; returns the ids of the runs.

        A time that comes while as many runs are active as may be is missed. The last one missed is started as soon as
        a run has ended, even with `no_catchup`, as the real controller does.
        """
        started = []
        for id, job in self.recurring_runs.items():
            due = self._find_due(id, job, now)
            active = [
                run for run in self.runs.values() if run.get("recurring_run_id") == id and run["state"] not in ENDED
            ]
            if due is None or len(active) >= int(job["max_concurrency"]):
                continue
            self._triggered[id] = due
            name = f"Run of {job['display_name']} ({secrets.token_hex(3)})"
            copied = {key: job[key] for key in ("pipeline_spec", "runtime_config", "experiment_id") if key in job}
            run = self._create_run({"display_name": name, **copied})
            run["recurring_run_id"] = id
            started.append(run["run_id"])
        return started

    def _find_due(self, id: str, job: Mapping[str, Any], now: datetime) -> datetime | None:
        """The time to start a run for, by the controller's own rules; None when it has not come."""
        timing = job["trigger"].get("cron_schedule")
        if job["mode"] != "ENABLE" or not timing:
            return None
        # The last run counts, else the start, else the making.
        since = self._triggered.get(id) or _read_time(timing.get("start_time") or job["created_at"])
        five = timing["cron"].partition(" ")[2]
        times = CronSim(five, since.astimezone(zoneinfo.ZoneInfo(self.time_zone)))
        due = next(times)
        if job.get("no_catchup"):
            while (later := next(times)) <= now:
                due = later
        end = timing.get("end_time")
        return due if due <= now and not (end and due > _read_time(end)) else None

    def _create_experiment(self, asked: dict[str, Any]) -> dict[str, Any]:
        require(asked.get("display_name"), "Experiment must have a non-empty name", 500)
        self._check_namespace(asked.get("namespace", ""), "CreateExperiment")
        key = asked["display_name"], asked.get("namespace", "")
        taken = {(each["display_name"], each["namespace"]) for each in self.experiments.values()}
        require(key not in taken, f"AlreadyExistError: experiment {key[0]} exists already", 409)
        id = _new_id()
        made = {
            "namespace": "",
            **asked,
            "experiment_id": id,
            "created_at": self._stamp(),
            "storage_state": "AVAILABLE",
        }
        self.experiments[id] = made
        return made

    def _create_run(self, asked: dict[str, Any]) -> dict[str, Any]:
        # The real server wraps this refusal in 500.
        require(asked.get("display_name"), "Invalid input error: Run name cannot be empty", 500)
        self._check_what_runs(asked)
        id, now = _new_id(), self._stamp()
        made = {
            **asked,
            "run_id": id,
            "storage_state": "AVAILABLE",
            "created_at": now,
            "scheduled_at": now,
            "finished_at": NEVER,
            "state": "PENDING",
            "state_history": [{"update_time": now, "state": "PENDING"}],
        }
        self.runs[id] = made
        return made

    def _create_recurring_run(self, asked: dict[str, Any]) -> dict[str, Any]:
        require(asked.get("display_name"), "Invalid input error: Recurring run's name cannot be empty", 500)
        require(len(asked.get("description", "")) <= LONGEST_DESCRIPTION, "Data too long for column 'Description'", 500)
        self._check_what_runs(asked)
        concurrency = asked.get("max_concurrency", "0")
        require(
            1 <= int(concurrency) <= 10, f"Max concurrency must be at least 1 and at most 10. Received {concurrency}"
        )
        trigger = asked.get("trigger", {})
        require(len(trigger) == 1, "expected a cron schedule or a periodic one.")
        if "cron_schedule" in trigger:
            check_cron(trigger["cron_schedule"].get("cron", ""))
        id, now = _new_id(), self._stamp()
        experiment = self.experiments[asked["experiment_id"]]
        made = {
            **asked,
            "recurring_run_id": id,
            "created_at": now,
            "updated_at": now,
            "namespace": experiment["namespace"],
        }
        self.recurring_runs[id] = made
        self._switch(id, asked.get("mode", "DISABLE"))
        return made

    def _check_what_runs(self, asked: dict[str, Any]) -> None:
        experiment = self.experiments.get(asked.get("experiment_id", ""))
        require(experiment, f"ResourceNotFoundError: Experiment {asked.get('experiment_id')} not found", 404)
        require(asked.get("namespace", experiment["namespace"]) == experiment["namespace"], "the namespace is another.")
        require("pipeline_version_reference" not in asked, "pipelines are given with the run here.", 501)
        config = asked.get("runtime_config", {})
        check_pipeline(asked.get("pipeline_spec"), config.get("parameters", {}))

    def _switch(self, id: str, mode: str) -> dict[str, Any]:
        require(mode in ("ENABLE", "DISABLE"), f"Recurring run's mode is invalid: {mode}")
        job = _find(self.recurring_runs, id, "Recurring run")
        job.update(mode=mode, status=f"{mode}D", updated_at=spell_time(datetime.now(UTC)))
        return {}

    def _delete_recurring_run(self, id: str) -> dict[str, Any]:
        _find(self.recurring_runs, id, "Recurring run")
        del self.recurring_runs[id]
        return {}

    def _get_run(self, id: str) -> dict[str, Any]:
        run = _find(self.runs, id, "Run")
        if run["state"] == "CANCELING":
            # The real server does not remember that a person ended it.
            self.show(id, "FAILED", {name: _end(step) for name, step in self._steps.get(id, {}).items()})
        elif self.scenes and run["state"] not in ENDED:
            self.show(id, **(self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]))
        return run

    def _terminate(self, id: str) -> dict[str, Any]:
        run = _find(self.runs, id, "Run")
        may = run["state"] in ("PENDING", "RUNNING", "PAUSED")
        require(may, f"Failed to terminate a run {id}. Row not found")
        run["state"] = "CANCELING"
        self._terminated.add(id)
        return {}

    def _get_workflow(self, id: str) -> dict[str, Any]:
        if not self.has_v1:
            raise Refusal(404, "Not Found")
        run = _find(self.runs, id, "Run")
        workflow = spell_workflow(self._nodes(id), terminated=id in self._terminated)
        return {
            "run": {"id": id, "name": run["display_name"], "status": run["state"].capitalize()},
            "pipeline_runtime": {"workflow_manifest": json.dumps(workflow)},
        }

    def _nodes(self, id: str) -> list[Any]:
        run = self.runs[id]
        name = f"mnist-training-{id[:5]}"
        return list_nodes(name, run["state"], _read_time(run["created_at"]), self._steps.get(id, {}))

    def _list(self, items: Mapping[str, dict[str, Any]], what: str, query: dict[str, str]) -> dict[str, Any]:
        known = {"namespace", "experiment_id", "page_token", "page_size", "sort_by", "filter"}
        require(set(query) <= known, f"unknown query parameters {sorted(set(query) - known)}")
        belongs, predicates = self._read_scope(query), read_filter(query.get("filter", ""), FIELDS)
        found = [item for item in items.values() if belongs(item) and all(matches(item, each) for each in predicates)]
        key, descending = _read_sort(query.get("sort_by", ""))
        found.sort(key=lambda item: str(item[key]), reverse=descending)
        # One of these fields is spelled otherwise than all others: recurringRuns.
        names = getattr(kfp_server_api, f"V2beta1List{what}Response").attribute_map
        field = next(spelled for name, spelled in names.items() if name not in ("total_size", "next_page_token"))
        return _cut_page(field, found, query)

    def _read_scope(self, query: Mapping[str, str]) -> Callable[[Mapping[str, Any]], bool]:
        """Check what a list is asked to hold; returns whether an item belongs to it."""
        if id := query.get("experiment_id"):
            self._check_namespace(_find(self.experiments, id, "Experiment")["namespace"], "the experiment")
            return lambda item: bool(item["experiment_id"] == id)
        namespace = query.get("namespace", "")
        self._check_namespace(namespace, "List")
        return lambda item: bool(self.experiments[item["experiment_id"]]["namespace"] == namespace)

    def _check_namespace(self, namespace: str, call: str) -> None:
        if not self._namespaces:
            require(not namespace, f"In single-user mode, {call} cannot have a namespace.")
            return
        require(namespace, f"{call}: an experiment cannot have an empty namespace in multi-user mode")
        words = f"PermissionDenied: User 'user@example.com' is not authorized in the namespace {namespace}"
        require(namespace in self._namespaces, words, 403)

    def _stamp(self) -> str:
        """The time; never the same twice, so that what is listed has an order."""
        self._clock += timedelta(seconds=1)
        return spell_time(self._clock)


def _end(step: Step) -> Step:
    """What becomes of a step when its run is ended; between two attempts, the last one's failure stays."""
    if step.state == "RETRYING":
        return replace(step, state="FAILED")
    return Step("FAILED", "Step exceeded its deadline") if step.state == "RUNNING" else step


def _find(items: Mapping[str, dict[str, Any]], id: str, what: str) -> dict[str, Any]:
    if id not in items:
        raise Refusal(404, f"ResourceNotFoundError: {what} {id} not found")
    return items[id]


def _new_id() -> str:
    digits = secrets.token_hex(16)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _read_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _read_sort(text: str) -> tuple[str, bool]:
    words = text.lower().split() or ["created_at"]
    good = len(words) <= 2 and words[0] in ("created_at", "display_name") and words[1:] in ([], ["asc"], ["desc"])
    require(good, f"Cannot sort on field {text}.")
    return words[0], words[1:] == ["desc"]


def _cut_page(field: str, found: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """A page, with a token for the next one that holds how it was asked for."""
    size = min(int(query.get("page_size") or 0) or DEFAULT_PAGE, LARGEST_PAGE)
    require(size > 0, "The page size should be greater than 0.")
    how = [query.get("sort_by", ""), query.get("filter", "")]
    first = 0
    if token := query.get("page_token", ""):
        try:
            first, *meant = json.loads(base64.b64decode(token))
        except ValueError:
            raise Refusal(400, "Invalid input error: Invalid package token.") from None
        require(how in (meant, ["", ""]), "page token does not match the supplied sort by and/or filtering criteria.")
    answer: dict[str, Any] = {field: found[first : first + size], "total_size": len(found)}
    if first + size < len(found):
        answer["next_page_token"] = base64.b64encode(json.dumps([first + size, *how]).encode()).decode()
    return answer
