"""Exceptions, one class per cause that a caller can act on, and the error report of a step.

Every message is one line for the user: what arrived, what was expected, what to do. The functions at the end help to
write messages: they list wrapped exceptions, quote foreign ones, suggest known words and mask tokens.
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

# The runner of a step sets this to the path of a file: KFP itself only reports that the inner task failed.
ERROR_FILE = "MNIST_ERROR_FILE"

# Google's access and refresh tokens, and JSON Web Tokens.
# No word boundary before them: in escaped text, a token at the start of a line follows the n of a backslash-n.
TOKEN = re.compile(r"ya29\.[\w.-]+|1//[\w-]{20,}|eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")


class MnistError(Exception):
    """Base class of the project's errors; the message is one line."""


class SettingError(MnistError):
    """A parameter has an unknown name, a wrong type or a value out of range."""


class DataError(MnistError):
    """The data is missing, unreadable, or not an image data set."""


class UnreachableError(DataError):
    """Remote data cannot be fetched: no network, no answer, a refusal or a wrong answer.

    Attributes:
        status: The HTTP status of the answer, 404 for instance; None where no answer came.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class DeviceError(MnistError):
    """The required accelerator is missing."""


class TrainingError(MnistError):
    """Training cannot continue."""


class ModelError(MnistError):
    """A model folder is missing, damaged, or does not fit the data."""


class OutputError(MnistError):
    """A result cannot be written to the requested path."""


def reports_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as the work of a step: an exception is also written to the file named by MNIST_ERROR_FILE.

    The file holds a JSON object: `error` (class), `expected` (whether the project raised it on purpose), `details` (the
    traceback) and `message` (one line). The exception itself is passed on to the caller.
    """

    @functools.wraps(function)
    def step(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            report = {
                "error": type(error).__name__,
                "expected": isinstance(error, MnistError),
                "details": "".join(traceback.format_exception(error)),
                # Last, because Kubernetes keeps only the end of a long file.
                "message": " ".join(str(error).split()),
            }
            if path := os.environ.get(ERROR_FILE):
                # A file that cannot be written must not hide the error itself.
                with contextlib.suppress(OSError):
                    Path(path).write_text(json.dumps(report, indent=2), encoding="utf-8")
            raise

    return step


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all those that it wraps, the innermost last.

    HTTP libraries keep the wrapped exception in `reason` or among the arguments.
    """
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        # If there is a cause, the context is only the exception being handled at the time.
        inner = (getattr(link, "reason", None), *link.args, link.__cause__ or link.__context__)
        waiting += [each for each in inner if isinstance(each, BaseException)]


def describe(error: BaseException) -> str:
    """Return a third-party exception's message on one line, or its class name if it has none."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def suggest(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Name the known word that is nearest to a mistyped one: "did you mean train?"; case does not count.

    Args:
        otherwise: Text to return if none is near: "expected one of ingest, train."
    """
    folded = {each.casefold(): each for each in known}
    nearest = difflib.get_close_matches(word.casefold(), folded, 1)
    return f"did you mean {folded[nearest[0]]}?" if nearest else otherwise


def mask_tokens(text: str) -> str:
    """Replace anything that looks like a token: servers may repeat tokens in their answers."""
    return TOKEN.sub("...", text)
