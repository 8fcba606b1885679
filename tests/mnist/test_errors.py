"""A step writes down why it failed, for whoever started it."""

import json
from pathlib import Path

import pytest

from components.mnist.errors import ERROR_FILE, DataError, reports_errors


@reports_errors
def refuse(message: str) -> None:
    """Fail as a step does that met bad data."""
    raise DataError(message)


@reports_errors
def stumble() -> int:
    """Fail as a step does that has a bug."""
    return {"a": 1}["b"]


def test_a_refusal_is_written_where_the_place_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    with pytest.raises(DataError, match=r"two\nlines"):
        refuse("two\nlines")
    error = json.loads((tmp_path / "error.json").read_text())
    assert error["error"] == "DataError"
    assert error["message"] == "two lines"
    assert error["expected"] is True
    assert "in refuse" in error["details"]


def test_a_bug_is_told_apart_from_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    with pytest.raises(KeyError):
        stumble()
    assert json.loads((tmp_path / "error.json").read_text())["expected"] is False


def test_without_a_place_for_it_the_error_just_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ERROR_FILE, raising=False)
    with pytest.raises(DataError, match="no file"):
        refuse("no file")
