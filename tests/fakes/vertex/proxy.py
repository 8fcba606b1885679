"""A TCP proxy in front of a server, which refuses, cuts and freezes connections as networks do."""

import contextlib
import socket
import struct
import threading

CHUNK_BYTES = 2**16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends RST instead of FIN


class Proxy:
    """Passes bytes from `port` to a server on this machine, unless asked otherwise."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._frozen: set[socket.socket] = set()
        self._cut_request = False
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._start_accepting()

    def refuse(self) -> None:
        """Refuse new connections and end the open ones."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def accept(self) -> None:
        """Take connections again, at the same port, and end the frozen ones."""
        with self._lock:
            frozen = self._frozen & self._open
        _reset(frozen)
        if self._listener is None:
            self._listener = _listen(self.port)
            self._start_accepting()

    def cut(self) -> None:
        """Reset every open connection."""
        with self._lock:
            sockets, self._open = self._open, set()
        _reset(sockets)

    def freeze(self) -> None:
        """Drop everything on the open connections without either side noticing; new connections work."""
        with self._lock:
            self._frozen |= self._open

    def cut_request(self) -> None:
        """Cut the connection in the middle of the client's next request."""
        self._cut_request = True

    def close(self) -> None:
        """End every connection and take no more."""
        self.refuse()

    def _start_accepting(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            with self._lock:
                self._open |= {client, server}
            answers = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            answers.start()
            self._pass_on(client, server, is_request=True)
            answers.join()
            with self._lock:
                self._open -= {client, server}
                self._frozen -= {client, server}

    def _pass_on(self, source: socket.socket, target: socket.socket, *, is_request: bool = False) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if source in self._frozen:
                    continue
                if is_request and self._cut_request:
                    self._cut_request = False
                    target.sendall(chunk[: len(chunk) // 2])
                    self.cut()
                target.sendall(chunk)
        # Not closed here: while the other thread still reads from it, a closed socket would stay open unseen.
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _reset(sockets: set[socket.socket]) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.shutdown(socket.SHUT_RDWR)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(32)
    return listener
