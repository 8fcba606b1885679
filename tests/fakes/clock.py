"""Time for tests: it passes only while somebody sleeps, so that waits cost nothing, however fast the machine is."""

import threading
import time


class Clock:
    """Takes the place of the module `time` in a module that waits.

    Threads that an earlier test left behind keep real time: their waits are none of this test's.

    Attributes:
        seconds: That have been slept through.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._strangers = set(threading.enumerate()) - {threading.current_thread()}

    def monotonic(self) -> float:
        return time.monotonic() if threading.current_thread() in self._strangers else self.seconds

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() in self._strangers:
            time.sleep(seconds)
        else:
            self.seconds += seconds
