"""What Kubeflow Pipelines takes: requests checked against the models of `kfp_server_api` and the pipeline spec.

Stricter than the real server where that one is lenient and a mistake would show only later: unknown and output fields,
five fields of cron (read as seconds first), a missing time zone.
"""

import json
import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import kfp_server_api
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

INTEGERS = ("max_concurrency", "interval_second", "long_value")  # int64, which JSON carries as text or number
TIMES_AND_STATE = {
    "created_at",
    "updated_at",
    "scheduled_at",
    "finished_at",
    "state",
    "status",
    "error",
    "storage_state",
}
WRITTEN_BY_SERVER = {
    "V2beta1Run": {*TIMES_AND_STATE, "run_id", "run_details", "state_history", "recurring_run_id", "plugins_output"},
    "V2beta1RecurringRun": {*TIMES_AND_STATE, "recurring_run_id"},
    "V2beta1Experiment": {*TIMES_AND_STATE, "experiment_id", "last_run_created_at"},
}
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
# Of robfig/cron 1.2: seconds, minutes, hours, days of the month, months, days of the week.
CRON = ((0, 59, []), (0, 59, []), (0, 23, []), (1, 31, []), (1, 12, MONTHS), (0, 6, DAYS))

TESTS: dict[str, Callable[[str, str], bool]] = {
    "EQUALS": operator.eq,
    "NOT_EQUALS": operator.ne,
    "IS_SUBSTRING": operator.contains,
}


class Refusal(Exception):  # noqa: N818  (what the server does)
    """An answer that is an error, with gRPC's code and the server's words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def require(condition: object, words: str, status: int = 400) -> None:
    if not condition:
        raise Refusal(status, words if status != 400 else f"Invalid input error: {words}")


def read_model(name: str, content: Any) -> dict[str, Any]:
    """Check a request's body against a model; returns it with the model's own names."""
    value: dict[str, Any] = _check(name, content, name)
    foreign = WRITTEN_BY_SERVER.get(name, set()) & set(value)
    require(not foreign, f"{name}: only the server writes {', '.join(sorted(foreign))}.")
    return value


def _check(kind: str, value: Any, path: str) -> Any:
    if kind.startswith("list["):
        require(isinstance(value, list), f"{path}: expected a list.")
        return [_check(kind[5:-1], each, f"{path}[]") for each in value]
    if kind.startswith("dict("):
        require(isinstance(value, dict), f"{path}: expected an object.")
        return {key: _check(kind.partition(", ")[2][:-1], each, f"{path}.{key}") for key, each in value.items()}
    if model := getattr(kfp_server_api, kind, None):
        return _check_model(model, value, path)
    return _check_plain(kind, value, path)


def _check_model(model: Any, value: Any, path: str) -> Any:
    if choices := getattr(model, "allowable_values", None):
        # Protobuf's JSON takes an enum by its name or its number.
        name = choices[value] if isinstance(value, int) and 0 <= value < len(choices) else value
        require(name in choices, f"{path}: invalid value for enum: {value!r}.")
        return name
    require(isinstance(value, dict), f"{path}: expected an object.")
    names = {_camel(name): attribute for attribute, name in model.attribute_map.items()}
    names |= {name: attribute for attribute, name in model.attribute_map.items()}
    checked = {}
    for key, each in value.items():
        require(key in names, f'proto: unknown field "{key}" in {path}.')
        kind = "int64" if names[key] in INTEGERS else model.openapi_types[names[key]]
        checked[names[key]] = _check(kind, each, f"{path}.{key}")
    return checked


def _check_plain(kind: str, value: Any, path: str) -> Any:
    if kind == "datetime":
        require(
            isinstance(value, str) and _is_timestamp(value), f"{path}: invalid google.protobuf.Timestamp {value!r}."
        )
    elif kind == "int64":
        require(re.fullmatch(r"-?\d+", str(value)) and not isinstance(value, bool), f"{path}: invalid int64 {value!r}.")
        return str(value)
    elif kind != "object":
        expected = {"str": str, "bool": bool, "int": int}[kind]
        require(type(value) is expected, f"{path}: invalid value {value!r} for type {kind}.")
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _is_timestamp(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def check_pipeline(content: Any, parameters: dict[str, Any]) -> None:
    """Read a pipeline as the server's compiler does, strictly, and the values given for its parameters."""
    require(isinstance(content, dict) and content, "The pipeline spec is empty.")
    wrapped = "pipeline_spec" in content
    require(
        not wrapped or set(content) <= {"pipeline_spec", "platform_spec"}, f"unknown documents in {sorted(content)}."
    )
    spec = pipeline_spec_pb2.PipelineSpec()
    try:
        json_format.ParseDict(content["pipeline_spec"] if wrapped else content, spec)
        _check_platform(content.get("platform_spec", {}) if wrapped else {})
    except json_format.ParseError as error:
        raise Refusal(400, f"Invalid input error: Failed to parse the pipeline spec: {error}") from None
    require(spec.pipeline_info.name, "The pipeline's name is empty.")
    _check_parameters(spec.root.input_definitions.parameters, parameters)


def _check_platform(content: dict[str, Any]) -> None:
    platforms = json_format.ParseDict(content, pipeline_spec_pb2.PlatformSpec()).platforms
    require(set(platforms) <= {"kubernetes"}, f"unknown platforms {sorted(platforms)}.")
    for executor in platforms["kubernetes"].deployment_spec.executors.values() if platforms else ():
        json_format.Parse(
            json_format.MessageToJson(executor), kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        )


def _check_parameters(known: Any, given: dict[str, Any]) -> None:
    kinds = pipeline_spec_pb2.ParameterType
    types = {
        kinds.NUMBER_INTEGER: lambda value: type(value) is int,
        kinds.NUMBER_DOUBLE: lambda value: type(value) in (int, float),
        kinds.STRING: lambda value: type(value) is str,
        kinds.BOOLEAN: lambda value: type(value) is bool,
        kinds.LIST: lambda value: type(value) is list,
        kinds.STRUCT: lambda value: type(value) is dict,
    }
    for name, value in given.items():
        require(name in known, f"parameter {name} is not defined in the pipeline.")
        kind = known[name].parameter_type
        require(types[kind](value), f"parameter {name} has {value!r}, expected {kinds.ParameterTypeEnum.Name(kind)}.")
    for name, spec in known.items():
        is_needed = not spec.is_optional and not spec.HasField("default_value")
        require(name in given or not is_needed, f"parameter {name} is required.")


def check_cron(expression: str) -> None:
    """Refuse what robfig/cron 1.2 does not read, and expressions without seconds."""
    fields = expression.split()
    start = "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error:"
    require(len(fields) == 6, f"{start} expected 6 fields, found {len(fields)}: {expression}")
    for text, (low, high, names) in zip(fields, CRON, strict=True):
        for part in text.split(","):
            span, slash, step = part.partition("/")
            ends = [low, high] if span in ("*", "?") else [_read_number(end, low, names) for end in span.split("-")]
            is_fine = 1 <= len(ends) <= 2 and all(low <= end <= high for end in ends) and ends == sorted(ends)
            require(is_fine and (not slash or (step.isdecimal() and int(step) > 0)), f"{start} {part} in {expression}")


def _read_number(text: str, low: int, names: list[str]) -> int:
    if text.upper() in names:
        return names.index(text.upper()) + low
    return int(text) if text.isdecimal() else -1


def read_filter(text: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """The predicates of a list's filter, from JSON that is encoded once more than the address around it."""
    if not text:
        return []
    try:
        content = json.loads(unquote_plus(text))
    except ValueError as error:
        raise Refusal(400, f"Invalid input error: failed to parse valid filter from {text!r}: {error}") from None
    predicates = read_model("V2beta1Filter", content).get("predicates", [])
    for predicate in predicates:
        key, operation = predicate.get("key"), predicate.get("operation")
        require(key in fields, f"no support for filtering on unrecognized field {key!r}.")
        require(operation in TESTS, f"the operation {operation} is not played here.", 501)
        require("string_value" in predicate, f"the predicate for {key} has no value.")
    return list(predicates)


def matches(item: dict[str, Any], predicate: dict[str, Any]) -> bool:
    """Whether a thing is one that a predicate of a filter means; capitals make no difference, as in the database."""
    value, wanted = str(item.get(predicate["key"], "")), str(predicate["string_value"])
    return TESTS[predicate["operation"]](value.casefold(), wanted.casefold())
