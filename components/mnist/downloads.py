"""Files from https:// addresses: whole, checked, or not there at all."""

from components.mnist.errors import DataError


class Unreachable(DataError):  # noqa: N818  (what it is called where it is caught)
    """The data exists somewhere else but cannot be had from here: no network, no answer, or a refusal."""
