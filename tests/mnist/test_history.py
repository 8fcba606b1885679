"""The course of a training, written and read."""

from pathlib import Path

import pytest

from components.mnist.errors import DataError
from components.mnist.history import Epoch, read_history, write_history


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    epochs = [
        Epoch(number, loss=1 / number, accuracy=0.5, val_loss=0.1, val_accuracy=1.0, learning_rate=1e-3, seconds=2.5)
        for number in (1, 2, 3)
    ]
    write_history(tmp_path, epochs)
    assert read_history(tmp_path) == epochs


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "0 epochs; expected at least one"),
        ("epoch,loss\n1,0.5\n", "'accuracy'; expected numbers in epoch, loss, accuracy"),
        ("epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n1,x,1,1,1,1,1\n", "could not convert"),
        ("epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n1,nan,1,1,1,1,1\n", "finite numbers only"),
        ("epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n1,0.5\n", "expected numbers in"),
    ],
)
def test_a_history_that_is_none_is_refused(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(DataError, match=rf"history\.csv: .*{line}"):
        read_history(tmp_path)
