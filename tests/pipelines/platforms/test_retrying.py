"""Calls that are retried, and things that are created once although answers get lost."""

import pytest

from pipelines.platforms import retrying
from pipelines.platforms.base import DeniedError, PlatformError, TransientError
from tests.fakes.clock import Clock


@pytest.fixture(autouse=True)
def _play_time(clock: Clock) -> None:
    """No test waits."""


class Shop:
    """Makes things, and loses answers: each error happens once, in order.

    Args:
        troubles: Errors, each with whether the thing was made all the same.
        blind: How often `find` is refused.

    Attributes:
        made: All that was made.
    """

    def __init__(self, *troubles: tuple[PlatformError, bool], blind: int = 0) -> None:
        self.troubles = list(troubles)
        self.blind = blind
        self.made: list[str] = []

    def make(self) -> str:
        if self.troubles:
            error, happened = self.troubles.pop(0)
            if happened:
                self.made.append("thing")
            raise error
        self.made.append("thing")
        return "thing"

    def find(self) -> str | None:
        if self.blind:
            self.blind -= 1
            raise DeniedError("may not look.")
        return self.made[0] if self.made else None


def lost() -> TransientError:
    return TransientError("the answer was lost.", may_have_happened=True)


def test_transient_errors_are_retried() -> None:
    answers = iter([TransientError("busy."), TransientError("busy."), None])

    def read() -> str:
        if error := next(answers):
            raise error
        return "answer"

    assert retrying.call(read) == "answer"


def test_errors_that_last_are_raised_in_their_own_words(clock: Clock) -> None:
    def read() -> None:
        raise TransientError("busy for ever.")

    with pytest.raises(TransientError, match=r"busy for ever\."):
        retrying.call(read)
    assert retrying.GIVE_UP_SECONDS - retrying.LONGEST_WAIT_SECONDS <= clock.seconds <= retrying.GIVE_UP_SECONDS


def test_other_errors_are_not_retried() -> None:
    tries = []

    def read() -> None:
        tries.append(1)
        raise DeniedError("not you.")

    with pytest.raises(DeniedError, match=r"not you\."):
        retrying.call(read)
    assert len(tries) == 1


@pytest.mark.parametrize(
    "shop",
    [
        Shop(),
        Shop((TransientError("refused."), False)),
        Shop((lost(), True)),
        Shop((lost(), False)),
        Shop((lost(), False), (lost(), True)),
        Shop((PlatformError("broke.", may_have_happened=True), True)),
    ],
    ids=["calm", "not reached", "answer lost", "call lost", "both", "server broke after it was made"],
)
def test_there_is_one_thing_in_the_end(shop: Shop) -> None:
    assert retrying.create(shop.make, shop.find) == "thing"
    assert shop.made == ["thing"]


def test_what_was_refused_was_not_made() -> None:
    shop = Shop((DeniedError("not you."), False))
    with pytest.raises(DeniedError, match=r"not you\."):
        retrying.create(shop.make, shop.find)
    assert shop.made == []


def test_when_nobody_can_look_it_is_not_made_twice() -> None:
    shop = Shop((lost(), True), blind=1)
    with pytest.raises(PlatformError, match=r"the answer was lost\. It may or may not have been.*may not look\."):
        retrying.create(shop.make, shop.find)
    assert shop.made == ["thing"]
