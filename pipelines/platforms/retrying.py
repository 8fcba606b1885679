"""Retry after transient errors, and create things once although answers get lost."""

import time
from collections.abc import Callable
from typing import TypeVar

from google.api_core import exceptions, retry

from pipelines.platforms.base import PlatformError, TransientError

T = TypeVar("T")

FIRST_WAIT_SECONDS = 1.0  # the longest; it doubles with each try, and is drawn at random below that
LONGEST_WAIT_SECONDS = 20.0
GIVE_UP_SECONDS = 90.0
LOOK_SECONDS = (0.0, 1.0, 4.0)  # waits before each look for what a lost answer may have created
# Called with each error before another try, where a person waits who would wonder.
on_trouble: Callable[[Exception], None] | None = None


def call(function: Callable[[], T], *, give_up_seconds: float | None = None) -> T:
    """Call something that changes nothing, or the same when repeated, until it succeeds or the time is over.

    Args:
        give_up_seconds: GIVE_UP_SECONDS when None.

    Raises:
        PlatformError: The last one; TransientError when errors lasted too long.
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
    """Create something once: when the answer is lost, look whether it was created before trying again.

    Args:
        make: Asks the platform to create it.
        find: Looks for what `make` would have created, by a name that nobody else uses; None when it is missing.

    Raises:
        PlatformError: It could not be created, or nobody knows whether it was; the message then says so.
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
                    f"{lost} Nobody knows whether it was made: looking for it failed too ({error}) Look before you "
                    "repeat the command.",
                    may_have_happened=True,
                ) from error
            raise

    return call(attempt)
