"""Which way the arrows run: compiling needs no ML stack, and the library needs no KFP."""

import json
import subprocess
import sys
from pathlib import Path

import components.mnist

HEAVY = {"tensorflow", "keras", "onnxruntime", "sklearn", "scipy", "matplotlib", "pandas", "numpy", "PIL"}
LIBRARY = sorted(path.stem for path in Path(components.mnist.__path__[0]).glob("*.py") if path.stem != "__init__")

# Imports modules one after the other and prints, for each, what has been loaded by then.
PROGRAM = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(json.dumps([name, sorted(sys.modules)]))
"""


def loaded_after(*names: str) -> dict[str, set[str]]:
    """Modules that are loaded after each import, in one fresh Python."""
    finished = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("[")]
    return {name: set(modules) for name, modules in rows}


def test_defining_the_pipeline_loads_no_machine_learning_library() -> None:
    modules = loaded_after("pipelines.training")["pipelines.training"]
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    library = {name for name in modules if name.startswith("components.mnist.")}
    assert library == {"components.mnist.errors", "components.mnist.settings"}


def test_the_library_loads_no_kfp() -> None:
    assert len(LIBRARY) > 5
    for name, modules in loaded_after(*[f"components.mnist.{module}" for module in LIBRARY]).items():
        assert not {module for module in modules if module.partition(".")[0] in ("kfp", "pipelines")}, name
