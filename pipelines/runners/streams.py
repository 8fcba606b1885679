"""Assemble a container's output, which arrives in pieces, into lines of text.

Docker's SDK returns the pieces as the engine sends them and leaves assembling them to its caller.
"""

import codecs
import io
import itertools
from collections.abc import Iterable, Iterator


def read_lines(frames: Iterable[tuple[bytes | None, bytes | None]]) -> Iterator[str]:
    """Assemble lines from pieces.

    Args:
        frames: Pairs of a piece of standard output and a piece of standard error, or None. A piece may end within a
            line or a character.

    Yields:
        Lines with their newline, in the order in which they were completed. The halves of a line on one stream are
        never mixed with the other stream. Invalid UTF-8 is replaced, and a carriage return ends a line, as it does when
        Python reads a process. The last line of a stream may lack its newline.
    """
    decoders = [io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), True) for _ in range(2)]
    rests = ["", ""]
    for frame in itertools.chain(frames, [None]):  # None: both streams have ended
        for stream, piece in enumerate(frame or (b"", b"")):
            text = rests[stream] + decoders[stream].decode(piece or b"", final=frame is None)
            *complete, rests[stream] = text.split("\n")
            yield from (line + "\n" for line in complete)
    yield from filter(None, rests)
