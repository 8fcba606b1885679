"""From pieces to lines, however the pieces are cut."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pipelines.runners.streams import read_lines


def test_a_piece_may_end_within_a_line_and_within_a_character() -> None:
    text = "épochs 数字 ✓\nsecond".encode()
    pieces = [(text[i : i + 1], None) for i in range(len(text))]
    assert list(read_lines(pieces)) == ["épochs 数字 ✓\n", "second"]


def test_halves_of_two_streams_do_not_mix() -> None:
    pieces = [(b"epoch 1", None), (None, b"warning: "), (b" done\n", None), (None, b"slow\n")]
    assert list(read_lines(pieces)) == ["epoch 1 done\n", "warning: slow\n"]


def test_a_line_is_given_before_the_next_piece_is_asked_for() -> None:
    asked = []

    def frames() -> Iterator[tuple[bytes, None]]:
        for number in range(3):
            asked.append(number)
            yield f"line {number}\nrest".encode(), None

    lines = read_lines(frames())
    assert next(lines) == "line 0\n"
    assert asked == [0]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert list(read_lines([(b"\xff\xfe\n", None), (b"\xc3", None)])) == ["��\n", "�"]


def test_a_carriage_return_ends_a_line_even_between_pieces() -> None:
    assert list(read_lines([(b"10%\r", None), (b"20%\r", None), (b"\n", None)])) == ["10%\n", "20%\n"]


def test_nothing_gives_nothing() -> None:
    assert list(read_lines([])) == []
    assert list(read_lines([(b"", None), (None, None)])) == []


@given(st.text(alphabet="aé字\r\n "), st.lists(st.integers(1, 5)))
def test_lines_do_not_depend_on_the_cuts(text: str, lengths: list[int]) -> None:
    data, pieces = text.encode(), []
    for length in lengths:
        pieces.append((data[:length], None))
        data = data[length:]
    whole = text.replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(read_lines([*pieces, (data, None)])) == whole


def test_many_pieces_are_no_trouble() -> None:
    assert len(list(read_lines((b"x" * 1000 + b"\n", None) for _ in range(10_000)))) == 10_000
