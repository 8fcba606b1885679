"""Time for tests: it passes only while somebody sleeps, so that waits cost nothing, however fast the machine is."""


class Clock:
    """Takes the place of the module `time` in a module that waits.

    Attributes:
        seconds: That have been slept through.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
