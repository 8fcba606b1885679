"""How a step reports what it is doing while it does it.

Sentences are for people, wherever they read them. When the `mnist` command reads a step's output (MNIST_PROGRESS=1),
each sentence carries a mark that sets it apart from what libraries print, and updates for the command's progress bar
are printed too; in a log they would be a hundred lines per epoch. Every line is flushed at once.
"""

import json
import os
import time
from collections.abc import Callable

PROGRESS = "MNIST_PROGRESS"
SENTENCE = "@say "
UPDATE = "@progress "
SECONDS_BETWEEN_UPDATES = 0.1

# Called with the bytes done and the bytes in all, or None where the total is unknown.
OnProgress = Callable[[int, int | None], None]


def say(sentence: str) -> None:
    """Print one line that arrives now, whatever the buffering of standard output."""
    print(SENTENCE + sentence if _is_read_by_command() else sentence, flush=True)


class Progress:
    """One bar: how much of one piece of work is done.

    Args:
        total: Units in the whole piece of work; None where that is unknown.
        unit: Name of the unit, as shown: "steps", "bytes", "pictures".
    """

    def __init__(self, total: int | None, *, unit: str) -> None:
        self.total = total
        self.unit = unit
        self._is_shown = _is_read_by_command()
        self._last_seconds = 0.0

    def update(self, done: int, text: str = "") -> None:
        """Report that `done` units are finished; `text` adds details ("epoch 2/5, accuracy 0.981")."""
        now = time.monotonic()
        if not self._is_shown or (done != self.total and now - self._last_seconds < SECONDS_BETWEEN_UPDATES):
            return
        self._last_seconds = now
        print(UPDATE + json.dumps({"done": done, "total": self.total, "unit": self.unit, "text": text}), flush=True)


def report_download(name: str, total: int | None) -> OnProgress:
    """A function that reports the progress of a download.

    Args:
        name: Its address, of which the last part is shown.
        total: Bytes in all; None where that is unknown.
    """
    progress = Progress(total, unit="bytes")

    def update(done: int, total: int | None) -> None:
        amount = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f}" if total else "")
        progress.update(done, f"downloading {name.rpartition('/')[2]}, {amount} MB")

    return update


def _is_read_by_command() -> bool:
    return os.environ.get(PROGRESS) == "1"
