"""How a step reports why it failed, and the functions that help to write messages."""

import json
from pathlib import Path

import pytest

from components.mnist.errors import ERROR_FILE, DataError, chain, describe, mask_tokens, reports_errors, suggest


@reports_errors
def refuse(message: str) -> None:
    """Fail as a step fails on bad data."""
    raise DataError(message)


@reports_errors
def stumble() -> int:
    """Fail as a step fails with a bug."""
    return {"a": 1}["b"]


def test_a_refusal_is_written_to_the_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    with pytest.raises(DataError, match=r"two\nlines"):
        refuse("two\nlines")
    error = json.loads((tmp_path / "error.json").read_text())
    assert error["error"] == "DataError"
    assert error["message"] == "two lines"
    assert error["expected"] is True
    assert "in refuse" in error["details"]


def test_a_bug_is_distinguished_from_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    with pytest.raises(KeyError):
        stumble()
    assert json.loads((tmp_path / "error.json").read_text())["expected"] is False


def test_without_a_file_for_it_the_error_just_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ERROR_FILE, raising=False)
    with pytest.raises(DataError, match="no file"):
        refuse("no file")


def test_a_chain_goes_from_the_outermost_exception_to_the_innermost_cause() -> None:
    """HTTP libraries wrap in arguments and in `reason`; Python in causes, and in contexts where there is no cause."""
    innermost = ConnectionRefusedError("refused")
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__, wrapped.__context__ = innermost, KeyError("by the way")
    middle = OSError("middle")
    middle.reason = wrapped  # type: ignore[attr-defined]
    outer = RuntimeError(middle)
    outer.__context__ = middle
    assert list(chain(outer)) == [outer, middle, wrapped, innermost]


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__context__, second.__context__ = second, first
    assert list(chain(first)) == [first, second]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(2, "No such file or directory", "secret/path"), "No such file or directory"),
        (ValueError("two\n lines."), "two lines"),
        (EOFError(), "EOFError"),
    ],
)
def test_an_exception_from_elsewhere_becomes_one_line(error: Exception, words: str) -> None:
    assert describe(error) == words


@pytest.mark.parametrize(
    ("word", "words"),
    [("trian", "did you mean train?"), ("TRAIN", "did you mean train?"), ("xyz", "expected one of ingest, train.")],
)
def test_the_nearest_known_word_is_suggested(word: str, words: str) -> None:
    assert suggest(word, ["ingest", "train"], otherwise="expected one of ingest, train.") == words


@pytest.mark.parametrize(
    "token", ["ya29.a0Ab-c_d", f"1//0{'g' * 30}", "eyJhbGciOi.eyJpc3Mi.c2ln", "eyJhbGciOi.eyJpc3Mi"]
)
@pytest.mark.parametrize("before", ["token=", "", '"', "escaped\\n", "_"])
def test_tokens_are_masked_whatever_is_before_them(token: str, before: str) -> None:
    assert mask_tokens(f"No {before}{token}, sorry") == f"No {before}..., sorry"
