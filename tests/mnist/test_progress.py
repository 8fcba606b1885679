"""What a step reports while it works."""

import json
import os
import subprocess
import sys

import pytest

from components.mnist.progress import PROGRESS, SENTENCE, UPDATE, Progress, say


def test_a_log_gets_sentences_and_no_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(PROGRESS, raising=False)
    say("1,797 images read")
    Progress(10, unit="steps").update(10)
    assert capsys.readouterr().out == "1,797 images read\n"


def test_the_command_gets_both_with_their_marks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    say("1,797 images read")
    Progress(10, unit="steps").update(10, "epoch 1/5")
    sentence, update = capsys.readouterr().out.splitlines()
    assert sentence == SENTENCE + "1,797 images read"
    assert json.loads(update.removeprefix(UPDATE)) == {"done": 10, "total": 10, "unit": "steps", "text": "epoch 1/5"}


def test_updates_are_thinned_but_the_last_one_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    bar = Progress(10_000, unit="steps")
    for done in range(1, 10_001):
        bar.update(done)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 100
    assert json.loads(lines[-1].removeprefix(UPDATE))["done"] == 10_000


def test_a_sentence_arrives_before_the_step_ends_without_any_buffering_setting() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = "import time\nfrom components.mnist.progress import say\nsay('now')\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment) as step:
        assert step.stdout is not None
        assert step.stdout.readline() == "now\n"
        assert step.poll() is None
        step.kill()
