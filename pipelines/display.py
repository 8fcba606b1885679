"""The display of running steps: a line per step with its time, and a progress bar.

Knows nothing of KFP: the runner calls it. In a log, the same lines appear without the bar.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from components.mnist.progress import SENTENCE, UPDATE


class Display:
    """Shows steps one after the other.

    Args:
        console: The console to print on.
        verbose: Show everything that a step prints, not only its sentences.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.console = console
        self.verbose = verbose
        self._bar = _new_bar(console)
        self._started = 0.0

    def start_step(self, name: str) -> None:
        """Show that a step begins."""
        self._started = time.monotonic()
        self.console.print(f"[bold]{escape(name)}[/bold]")
        self._bar = _new_bar(self.console)
        self._bar.add_task(name, total=None, text="")
        self._bar.start()

    def show_line(self, line: str) -> None:
        """Show a line of the step's output: a sentence, an update of the bar or, if verbose, anything else."""
        line = line.rstrip()
        if line.startswith(UPDATE):
            fields = json.loads(line.removeprefix(UPDATE))
            done, total, text = fields["done"], fields["total"], ""
            if total:
                text = fields["text"] or f"{done:,} of {total:,} {fields['unit']}"
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, text=escape(text))
        elif line.startswith(SENTENCE) or (line and self.verbose):
            text = "  " + line.removeprefix(SENTENCE)
            self.console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def end_step(self, *, failed: bool) -> float:
        """Show that the step has ended; return its seconds."""
        self._bar.stop()
        seconds = time.monotonic() - self._started
        sign = "[red]✗ failed after[/red]" if failed else "[green]✓[/green]"
        self.console.print(f"  {sign} {seconds:.1f} s", highlight=False)
        return seconds


@contextlib.contextmanager
def show_download(console: Console, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Draw a bar during a download; yield a function to call with the bytes done and the total."""
    with _new_bar(console) as bar:
        task = bar.add_task(name, total=None, text="", visible=False)

        def show(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            bar.update(task, completed=done, total=total, text=f"{name}: {done / 1e6:.1f}{of} MB", visible=True)

        yield show


def _new_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("  "),
        SpinnerColumn(),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[text]}", style="dim"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
