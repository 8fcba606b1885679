"""Retry after transient errors, and create things once even if answers are lost."""

import time
from collections.abc import Callable
from typing import TypeVar

from google.api_core import exceptions, retry

from pipelines.platforms.base import PlatformError, TransientError

T = TypeVar("T")

FIRST_WAIT_SECONDS = 1.0  # doubled with each try; the actual wait is a random time up to this
LONGEST_WAIT_SECONDS = 20.0
GIVE_UP_SECONDS = 90.0
LOOK_SECONDS = (0.0, 1.0, 4.0)  # waits before each search for a creation whose answer was lost
# Called with each error before another try, if a user is waiting.
on_trouble: Callable[[Exception], None] | None = None


def call(function: Callable[[], T], *, give_up_seconds: float | None = None) -> T:
    """Call an idempotent function until it succeeds or the time is up.

    Args:
        give_up_seconds: None for GIVE_UP_SECONDS.

    Raises:
        PlatformError: The last error; a TransientError if the time is up.
    """
    again = retry.Retry(
        predicate=retry.if_exception_type(TransientError),
        initial=FIRST_WAIT_SECONDS,
        maximum=LONGEST_WAIT_SECONDS,
        multiplier=2,
        timeout=give_up_seconds or GIVE_UP_SECONDS,
        on_error=lambda error: on_trouble and on_trouble(error),
    )
    try:
        return again(function)()
    except exceptions.RetryError as error:
        raise error.cause from error


def create(make: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Create something once: if the answer is lost, check whether it was created before trying again.

    Args:
        make: Creates it on the platform.
        find: Finds the creation of `make` by a unique name; returns None if it is missing.

    Raises:
        PlatformError: It was not created, or may or may not have been created; the message says which.
    """

    def attempt() -> T:
        try:
            return make()
        except PlatformError as lost:
            if not lost.may_have_happened:
                raise
            try:
                for seconds in LOOK_SECONDS:
                    time.sleep(seconds)
                    if (found := call(find)) is not None:
                        return found
            except PlatformError as error:
                raise PlatformError(
                    f"{lost} It may or may not have been created: the search for it failed too ({error}) Look for it "
                    "before you repeat the command.",
                    may_have_happened=True,
                ) from error
            raise

    return call(attempt)
