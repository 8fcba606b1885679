"""Names that a person may write: of profiles, steps and a step's inputs, found without importing anything slow.

Completion and early checks read them here. The truth about them is in `pipelines/configuration.py` and
`pipelines/steps.py`, but those import KFP, which takes most of a second.
"""

import ast
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import components
from components.mnist.errors import SettingError, suggest
from pipelines.runners.table import RUNNERS

EXAMPLE = "mnist.example.toml"

PAGES = Path(components.__file__).parent


def read_tables(file: Path) -> dict[str, Any]:
    """The profiles of a file, unchecked; none when there is no file.

    Raises:
        OSError, ValueError: The file cannot be read, or is not TOML.
    """
    return tomllib.loads(file.read_text(encoding="utf-8-sig")) if file.exists() else {}


def explain_unknown(on: str, file: Path, profiles: Iterable[str], *, runners: Iterable[str] = RUNNERS) -> SettingError:
    """The error for a name that is neither one of the runners nor one of the file's profiles.

    Args:
        runners: Empty for a command that takes only profiles.
    """
    known, runners = [*runners, *profiles], list(runners)
    hint = suggest(on, known, otherwise="")
    if not hint and not file.exists():
        neither = f"neither {' nor '.join(runners)}, and " if runners else ""
        return SettingError(
            f"--on {on}: {neither}there is no {file} with profiles. Start from the example: cp {EXAMPLE} {file}"
        )
    missing = "no such runner, and no such profile" if runners else "no such profile"
    expected = f"expected one of {', '.join(known)}." if known else "it has none."
    return SettingError(f"--on {on}: {missing} in {file}; {hint or expected}")


def list_steps() -> list[str]:
    """The steps, by the names of their pages in `components/`: find-leaks for find_leaks.py."""
    return sorted(page.stem.replace("_", "-") for page in PAGES.glob("[a-z]*.py"))


def list_inputs(step: str) -> list[str]:
    """Parameters and input artifacts of a step, from the signature on its page."""
    page = step.replace("-", "_")
    tree = ast.parse((PAGES / f"{page}.py").read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == page)
    return [each.arg for each in function.args.args if each.annotation and "Output" not in ast.unparse(each.annotation)]
