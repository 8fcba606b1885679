"""Which way the imports run: rooms, layers, no circle; and what is loaded by importing the two doors."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.runners.table import RUNNERS
from pipelines.steps import STEPS

ROOT = Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "onnxruntime", "sklearn", "scipy", "matplotlib", "pandas", "numpy", "PIL"}

# What a room of the library may import of other rooms, besides the modules that all rooms share.
SHARED = {"errors", "files", "history", "model", "progress", "settings"}
ROOMS = {
    "storage": set(),
    "data": {"storage"},
    "training": {"data.datasets"},
    "evaluation": {"data.datasets"},
    "report": {"data.datasets", "data.leakage", "evaluation.results"},
}
# The parts of `pipelines/` from the top to the bottom: a part imports only what is below it.
LAYERS = (
    "cli",
    "commands",
    "doctor",
    "configuration",
    "names",
    "schedules",
    "platforms",
    "runners",
    "display",
    "compilation",
    "profiles",
    "run_folder",
    "single_step",
    "training",
    "steps",
    "cron",
    "parameters",
    "checks",
    "container_images",
)


def read_imports(package: str) -> dict[str, set[str]]:
    """Every module of a package with the modules of this project that it imports, inside functions too."""
    files = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in (ROOT / package).rglob("*.py")}
    modules = {name.removesuffix(".__init__"): file for name, file in files.items()}
    found = {}
    for name, file in modules.items():
        found[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{each.name}" for each in node.names}
                found[name] |= {each if is_module(each) else node.module for each in full}
        found[name] = {each for each in found[name] if each.partition(".")[0] in ("components", "pipelines", "data")}
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


LIBRARY = read_imports("components/mnist")
PIPELINES = read_imports("pipelines")


def test_no_import_goes_in_a_circle() -> None:
    graph = {**read_imports("components"), **PIPELINES}
    graph["pipelines.runners.table"] |= set(RUNNERS.values())  # imported by name
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) > 80


def test_rooms_of_the_library_do_not_reach_into_each_other() -> None:
    strays = []
    for name, used in LIBRARY.items():
        room = name.removeprefix("components.mnist").strip(".").partition(".")[0]
        if room not in ROOMS:
            continue
        for each in used:
            target = "" if each == "components" else each.removeprefix("components.mnist").strip(".")
            other = target.partition(".")[0]
            is_allowed = other in ("", room, *SHARED) or other in ROOMS[room] or target in ROOMS[room]
            if not is_allowed:
                strays.append(f"{name} -> {each}")
    assert not strays


def test_every_folder_of_the_library_is_a_known_room() -> None:
    folders = {path.name for path in (ROOT / "components" / "mnist").iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS)
    modules = {path.stem for path in (ROOT / "components" / "mnist").glob("*.py")} - {"__init__"}
    assert modules == SHARED


def test_the_library_imports_neither_kfp_nor_what_uses_it() -> None:
    for file in (ROOT / "components" / "mnist").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"kfp", "pipelines"}, file


def test_pipelines_import_downwards_only() -> None:
    upwards = []
    for name, used in PIPELINES.items():
        part = name.removeprefix("pipelines").strip(".").partition(".")[0]
        if not part:
            continue
        for each in used:
            below = each.removeprefix("pipelines").strip(".").partition(".")[0]
            if each.startswith("pipelines.") and LAYERS.index(below) < LAYERS.index(part):
                upwards.append(f"{name} -> {each}")
    assert not upwards


@pytest.mark.parametrize("page", [step.name.replace("-", "_") for step in STEPS.values()])
def test_a_page_imports_one_room_inside_its_function_only(page: str) -> None:
    tree = ast.parse((ROOT / "components" / f"{page}.py").read_text(encoding="utf-8"))
    at_the_top = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert at_the_top == ["kfp", "components"]


def test_defining_the_pipeline_loads_no_machine_learning_library() -> None:
    program = "import json, sys, pipelines.training; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    library = {name for name in modules if name.startswith("components.mnist.")}
    assert library == {f"components.mnist.{name}" for name in ("errors", "files", "settings")}
