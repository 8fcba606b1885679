"""Why something elsewhere cannot be had: what a chain of wrapped exceptions comes down to, in few words."""

import socket

from urllib3.exceptions import ConnectTimeoutError, IncompleteRead, NewConnectionError, ProxyError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from components.mnist.data.arrays import describe

CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the host's name is not known"),
    (ConnectTimeoutError, "no connection in time"),
    (IncompleteRead, "the connection broke"),
    (ProxyError, "the proxy does not let it through"),
    (TimeoutError, "no answer for too long"),
    (HTTPTimeoutError, "no answer for too long"),
)


def find_cause(error: BaseException) -> str:
    """The cause of an exception of the network's libraries, for a person."""
    chain = _unwrap(error)
    for kind, words in CAUSES:
        if any(isinstance(link, kind) and not isinstance(link, NewConnectionError) for link in chain):
            return words
    return describe(chain[-1])


def _unwrap(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        reason = getattr(link, "reason", None) or next((arg for arg in link.args if isinstance(arg, Exception)), None)
        link = reason if isinstance(reason, BaseException) else link.__cause__ or link.__context__
    return chain
