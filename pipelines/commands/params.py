"""`mnist params`: list the pipeline's parameters."""

from rich.markup import escape
from rich.table import Table

from pipelines import parameters, training
from pipelines.commands.console import console


def show_parameters() -> None:
    """List every parameter with its default, its allowed values and its meaning."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("parameter", "default", "takes", "meaning"):
        table.add_column(column, no_wrap=column in ("parameter", "default"))
    for row in parameters.describe(parameters.read_defaults(training.build(training.Placement()))):
        table.add_row(*map(escape, row))
    console.print(table)
