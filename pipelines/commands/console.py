"""The consoles of the command, and the output that several commands share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.run_folder import RunFolder

# An explicit stream, since standard output is redirected while steps run.
console = Console(file=sys.stdout, highlight=False)
errors = Console(stderr=True, highlight=False)


def show_path(name: str, path: Path) -> None:
    """Print a path on one line, unwrapped, for copying."""
    console.out(f"{name}  {path}")


def show_metrics(finished: "RunFolder") -> None:
    """Print the accuracies, that on test data first."""
    metrics = finished.read_json("evaluate", "metrics", "metrics.json")
    training = finished.read_json("train", "model", "model.json")["metrics"]
    interval = f"95% interval {metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}"
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(
        "test accuracy", f"[bold]{metrics['accuracy']:.2%}[/bold]", f"{metrics['count']:,} images; {interval}"
    )
    table.add_row(
        "validation accuracy", f"{training['validation_accuracy']:.2%}", f"best epoch {training['best_epoch']:g}"
    )
    table.add_row("training accuracy", f"{training['training_accuracy']:.2%}", "the same weights, unaugmented images")
    console.print()
    console.print(table)


def refuse(*lines: str) -> NoReturn:
    """Print an error, the first line in red, and end the command with exit code 1."""
    errors.out(lines[0], style="red")
    for line in lines[1:]:
        errors.out(line)
    sys.exit(1)
