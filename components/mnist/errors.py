"""What can go wrong, one class per cause that a caller can act on, and how a step reports it to whoever started it.

Every message is one line for a person: what arrived, what was expected, what to do. Here are also the means by which
all messages are made: what an exception wraps, the nearest known word, and the mask over tokens.
"""

import contextlib
import difflib
import functools
import json
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Whoever runs steps sets this to a path: KFP itself only says that the inner task failed.
ERROR_FILE = "MNIST_ERROR_FILE"

# Google's access and refresh tokens, and JSON Web Tokens.
TOKEN = re.compile(r"\bya29\.[\w.-]+|\b1//[\w-]{20,}|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")


class MnistError(Exception):
    """Anything the project refuses or gives up on, explained in one line."""


class SettingError(MnistError):
    """A parameter has an unknown name, a wrong type or a value out of range."""


class DataError(MnistError):
    """The data is missing, unreadable, or not what an image data set looks like."""


class DeviceError(MnistError):
    """The accelerator that was required is not there."""


class TrainingError(MnistError):
    """Training cannot go on."""


class ModelError(MnistError):
    """A model folder is missing, damaged, or does not fit the data."""


class OutputError(MnistError):
    """What was made cannot be written where it was asked for."""


def reports_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as the work of a step: an exception is also written to the file named by MNIST_ERROR_FILE.

    The file holds a JSON object: `error` (class), `message` (one line), `expected` (whether the project raised it
    on purpose) and `details` (the traceback). The exception itself goes on to the caller.
    """

    @functools.wraps(function)
    def step(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if path := os.environ.get(ERROR_FILE):
                # A file that cannot be written must not hide the error itself.
                with contextlib.suppress(OSError):
                    Path(path).write_text(json.dumps(_describe(error), indent=2), encoding="utf-8")
            raise

    return step


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything that it wraps, the innermost last.

    HTTP libraries keep what they wrap in `reason` or among the arguments.
    """
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = (getattr(link, "reason", None), *link.args, link.__cause__, link.__context__)
        waiting += [each for each in inner if isinstance(each, BaseException)]


def suggest(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Name the known word that is nearest to a mistyped one: "did you mean train?"; capitals do not count.

    Args:
        otherwise: What to say where none is near: "expected one of ingest, train."
    """
    folded = {each.casefold(): each for each in known}
    nearest = difflib.get_close_matches(word.casefold(), folded, 1)
    return f"did you mean {folded[nearest[0]]}?" if nearest else otherwise


def mask_tokens(text: str) -> str:
    """Take everything out of a text that looks like a token: what others answered may repeat one."""
    return TOKEN.sub("...", text)


def _describe(error: Exception) -> dict[str, object]:
    return {
        "error": type(error).__name__,
        "expected": isinstance(error, MnistError),
        "details": "".join(traceback.format_exception(error)),
        # Last: of a long file, Kubernetes hands on the end only.
        "message": " ".join(str(error).split()),
    }
