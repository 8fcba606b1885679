"""Short descriptions of network errors."""

import socket

from urllib3.exceptions import ConnectTimeoutError, IncompleteRead, NewConnectionError, ProxyError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from components.mnist.errors import chain, describe

# The first of these that occurs in a chain of exceptions is the cause.
CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the host's name is not known"),
    (ConnectTimeoutError, "no connection in time"),
    (IncompleteRead, "the connection broke"),
    (ProxyError, "the proxy refuses the connection"),
    (TimeoutError, "no answer for too long"),
    (HTTPTimeoutError, "no answer for too long"),
)


def find_cause(error: BaseException) -> str:
    """Describe the cause of an exception of requests, urllib3 or a library on top of them."""
    links = list(chain(error))
    for kind, words in CAUSES:
        # In urllib3, a refused connection is a subclass of a connection time-out.
        if any(isinstance(link, kind) and not isinstance(link, NewConnectionError) for link in links):
            return words
    return describe(links[-1])
