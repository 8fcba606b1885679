"""How a step tells what it is doing while it does it.

Sentences are for people, wherever they read them. When the `mnist` command listens (MNIST_PROGRESS=1) they carry a
mark, by which it tells them from what libraries print, and a fraction done is told too, for the bar that it draws;
nobody else wants a hundred lines per epoch. Everything is flushed at once.
"""

import json
import os
import time

PROGRESS = "MNIST_PROGRESS"
SENTENCE = "@say "
UPDATE = "@progress "
SECONDS_BETWEEN_UPDATES = 0.1


def say(sentence: str) -> None:
    """Print one line that arrives now, whatever the buffering of standard output."""
    print(SENTENCE + sentence if _is_heard() else sentence, flush=True)


class Progress:
    """One bar: how much of one piece of work is done.

    Args:
        total: Units in the whole piece (steps, bytes, pictures); None when nobody knows.
        unit: Name of the unit, as shown: "steps", "bytes", "pictures".
    """

    def __init__(self, total: int | None, *, unit: str) -> None:
        self.total = total
        self.unit = unit
        self._heard = _is_heard()
        self._last_seconds = 0.0

    def update(self, done: int, text: str = "") -> None:
        """Tell that `done` units are finished; `text` says where the work is ("epoch 2/5, accuracy 0.981")."""
        now = time.monotonic()
        if not self._heard or (done != self.total and now - self._last_seconds < SECONDS_BETWEEN_UPDATES):
            return
        self._last_seconds = now
        print(UPDATE + json.dumps({"done": done, "total": self.total, "unit": self.unit, "text": text}), flush=True)


def _is_heard() -> bool:
    return os.environ.get(PROGRESS) == "1"
