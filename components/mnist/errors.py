"""What can go wrong, one class per cause that a caller can act on, and how a step tells it to whoever started it.

Every message is one line for a person: what arrived, what was expected, what to do.
"""

import contextlib
import functools
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# A place that runs steps sets this to a path: KFP itself only says that the inner task failed.
ERROR_FILE = "MNIST_ERROR_FILE"


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
                # Whatever hinders the telling must not hide what is told.
                with contextlib.suppress(OSError):
                    Path(path).write_text(json.dumps(_describe(error), indent=2), encoding="utf-8")
            raise

    return step


def _describe(error: Exception) -> dict[str, object]:
    return {
        "error": type(error).__name__,
        "expected": isinstance(error, MnistError),
        "details": "".join(traceback.format_exception(error)),
        # Last: of a long file, Kubernetes hands on the end only.
        "message": " ".join(str(error).split()),
    }
