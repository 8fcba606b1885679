"""From what a container writes, in pieces that end anywhere, to lines of text."""

import codecs
import io
from collections.abc import Iterable, Iterator


def read_lines(frames: Iterable[tuple[bytes | None, bytes | None]]) -> Iterator[str]:
    """Put lines together as their pieces come.

    Args:
        frames: What came on standard output and on standard error, each a piece or None. A piece may end within a
            line, or within a character.

    Yields:
        Lines with their newline, in the order in which they became whole; what is not UTF-8 is replaced, and carriage
        returns end a line as they do when Python reads a process. The last line of a stream may lack its newline.
    """
    streams = (_Lines(), _Lines())
    for frame in frames:
        for stream, piece in zip(streams, frame, strict=True):
            yield from stream.take(piece or b"")
    for stream in streams:
        yield from stream.take(b"", final=True)


class _Lines:
    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._rest = ""

    def take(self, piece: bytes, *, final: bool = False) -> list[str]:
        """The lines that this piece completes."""
        *whole, rest = (self._rest + self._decoder.decode(piece, final)).split("\n")
        self._rest = "" if final else rest
        return [line + "\n" for line in whole] + ([rest] if final and rest else [])
