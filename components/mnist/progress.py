"""Messages and progress of a running step.

Sentences are always printed. When the `mnist` command reads a step's output (MNIST_PROGRESS=1), each sentence has a
prefix that distinguishes it from the output of libraries, and updates for the command's progress bar are printed too;
in a log they would be a hundred lines per epoch. Every line is flushed at once.
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
    """Print a line and flush it."""
    print(SENTENCE + sentence if _is_read_by_command() else sentence, flush=True)


class Progress:
    """The progress of one piece of work, shown as a bar.

    Args:
        total: Number of units; None if unknown.
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
    """Return a function that reports the progress of a download.

    Args:
        name: Address of the download; its last part is shown.
        total: Number of bytes; None if unknown.
    """
    progress = Progress(total, unit="bytes")

    def update(done: int, total: int | None) -> None:
        amount = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f}" if total else "")
        progress.update(done, f"downloading {name.rpartition('/')[2]}, {amount} MB")

    return update


def _is_read_by_command() -> bool:
    return os.environ.get(PROGRESS) == "1"
