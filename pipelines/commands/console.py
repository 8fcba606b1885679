"""Where the command writes, and what more than one of its commands writes there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.run_folder import RunFolder

# The stream is named, since KFP's own output is redirected while steps run.
console = Console(file=sys.stdout, highlight=False)
errors = Console(stderr=True, highlight=False)


def show_path(name: str, path: Path) -> None:
    """A path on a line of its own, whole, to be copied."""
    console.out(f"{name}  {path}")


def show_metrics(finished: "RunFolder") -> None:
    """The answer first: how good the model is on data that training never saw."""
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
    """Say why the command ends here, the first line in red, and end it with exit code 1."""
    errors.out(lines[0], style="red")
    for line in lines[1:]:
        errors.out(line)
    sys.exit(1)
