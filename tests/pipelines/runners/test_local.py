"""Pipelines on this machine: real KFP, real processes, tiny steps."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import dsl
from rich.console import Console

from components.mnist.errors import ERROR_FILE
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError
from pipelines.runners import local


@dsl.component(base_image="python-none", install_kfp_package=False)
def speak(text: str, said: dsl.Output[dsl.Artifact]) -> None:
    """Write the text down and say it."""
    import sys
    from pathlib import Path

    Path(said.path).write_text(text)
    from components.mnist.progress import say

    say(f"heard: {text}")
    print("a library's chatter", file=sys.stderr)


@dsl.component(base_image="python-none", install_kfp_package=False)
def refuse(said: dsl.Input[dsl.Artifact]) -> None:
    """Fail as the library does."""
    from components.mnist.errors import DataError, reports_errors

    def read() -> None:
        raise DataError("digits.npz: empty file. Give another.")

    reports_errors(read)()


@dsl.component(base_image="python-none", install_kfp_package=False)
def vanish() -> None:
    """End as a step does that the kernel kills."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@dsl.component(base_image="python-none", install_kfp_package=False)
def leave() -> None:
    """End without the library's help."""
    import os

    print("bye", flush=True)
    os._exit(3)


@dsl.component(base_image="python-none", install_kfp_package=False)
def forget(said: dsl.Output[dsl.Artifact], numbers: dsl.Output[dsl.Metrics]) -> None:
    """Succeed without writing what was promised; metrics may be metadata only."""
    numbers.log_metric("accuracy", 0.5)


@dsl.component(base_image="python-none", install_kfp_package=False)
def slip_away(said: dsl.Output[dsl.Artifact]) -> None:
    """End as if all were well, before KFP has written that it is."""
    import os

    os._exit(0)


@dsl.component(base_image="python-none", install_kfp_package=False)
def wait(mark: str) -> None:
    """Run until somebody ends it."""
    import os
    import time
    from pathlib import Path

    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)


@dsl.pipeline(name="speaking")
def speaking(text: str) -> None:
    speak(text=text)


@dsl.pipeline(name="refusing")
def refusing() -> None:
    first = speak(text="hello")
    second = refuse(said=first.outputs["said"])
    speak(text="too late").after(second)


@dsl.pipeline(name="vanishing")
def vanishing() -> None:
    vanish()


@dsl.pipeline(name="leaving")
def leaving() -> None:
    leave()


@dsl.pipeline(name="forgetting")
def forgetting() -> None:
    forget()


@dsl.pipeline(name="slipping-away")
def slipping_away() -> None:
    slip_away()


@dsl.pipeline(name="waiting")
def waiting(mark: str) -> None:
    wait(mark=mark)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs", title="")


def show(file: Path, *, verbose: bool = False) -> Display:
    """A display that writes to a file, as in a log."""
    return Display(Console(file=file.open("w"), width=200), verbose=verbose)


def test_a_run_keeps_artifacts_logs_and_times_apart(run: RunFolder, tmp_path: Path) -> None:
    local.run(speaking, {"text": "hello"}, run=run, display=show(tmp_path / "shown"))
    assert (run.steps / "speak" / "said").read_text() == "hello"
    assert "a library's chatter" in (run.logs / "speak.log").read_text()
    assert "heard: hello" in (run.logs / "speak.log").read_text()
    assert "Running pipeline" in (run.logs / "pipeline.log").read_text()
    assert json.loads((run.folder / "run.json").read_text())["seconds"].keys() == {"speak"}


def test_sentences_are_shown_and_chatter_is_not(
    run: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    local.run(speaking, {"text": "hello"}, run=run, display=show(tmp_path / "shown"))
    shown = (tmp_path / "shown").read_text()
    assert "speak\n  heard: hello\n" in shown
    assert "chatter" not in shown
    assert "✓" in shown
    assert capfd.readouterr() == ("", "")


def test_verbose_shows_everything(run: RunFolder, tmp_path: Path) -> None:
    local.run(speaking, {"text": "hello"}, run=run, display=show(tmp_path / "shown", verbose=True))
    assert "a library's chatter" in (tmp_path / "shown").read_text()


@pytest.mark.parametrize("text", ["/opt/python3/data", "-c python3 $HOME `ls` \"quoted\" 'twice'", "ümläut 数字"])
def test_an_argument_arrives_as_it_was_given(run: RunFolder, tmp_path: Path, text: str) -> None:
    local.run(speaking, {"text": text}, run=run, display=show(tmp_path / "shown"))
    assert (run.steps / "speak" / "said").read_text() == text


def test_a_failed_step_shows_the_librarys_own_line_and_stops_the_run(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StepError) as failure:
        local.run(refusing, {}, run=run, display=show(tmp_path / "shown"))
    assert failure.value.step == "refuse"
    assert failure.value.message == "digits.npz: empty file. Give another."
    assert "DataError" in failure.value.details
    assert failure.value.log == run.logs / "refuse.log"
    assert sorted(path.name for path in run.logs.glob("speak*")) == ["speak.log"]
    assert not (run.steps / "speak-2").exists()
    assert (run.steps / "speak" / "said").is_file()


def test_a_killed_step_is_no_success(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="killed from outside, most often because memory ran out"):
        local.run(vanishing, {}, run=run, display=show(tmp_path / "shown"))


def test_a_step_that_ends_outside_the_library_is_no_success(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="ended with exit code 3; its last output: bye"):
        local.run(leaving, {}, run=run, display=show(tmp_path / "shown"))


def test_a_step_that_forgets_an_output_is_no_success(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"forget: ended without an error, but did not write said\."):
        local.run(forgetting, {}, run=run, display=show(tmp_path / "shown"))


def test_a_step_that_slips_away_is_no_success(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"did not write executor_output\.json, said\."):
        local.run(slipping_away, {}, run=run, display=show(tmp_path / "shown"))


def test_an_error_of_an_outer_run_is_not_taken_for_ours(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "outer.json"))
    with pytest.raises(StepError, match=r"digits\.npz"):
        local.run(refusing, {}, run=run, display=show(tmp_path / "shown"))
    assert not (tmp_path / "outer.json").exists()


def is_running(process: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import signal, sys\nfrom pathlib import Path\nfrom rich.console import Console\n"
        "from pipelines.display import Display\nfrom pipelines.run_folder import RunFolder\n"
        "from pipelines.runners import local\n"
        "from tests.pipelines.runners.test_local import waiting\n"
        # SIGINT too: a test run in the background starts its children with SIGINT ignored.
        "for number in (signal.SIGINT, signal.SIGTERM):\n    signal.signal(number, signal.default_int_handler)\n"
        "local.run(waiting, {'mark': sys.argv[1]}, run=RunFolder(Path(sys.argv[2]), title=''), "
        "display=Display(Console(), verbose=False))\n"
    )
    mark = tmp_path / "mark"
    outer = subprocess.Popen(
        [sys.executable, "-c", program, str(mark), str(tmp_path / "runs")], cwd=Path(__file__).parents[3]
    )
    while outer.poll() is None and not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    step = int(mark.read_text())
    outer.send_signal(number)
    assert outer.wait(timeout=300) != 0
    assert not is_running(step)
    assert (next((tmp_path / "runs").iterdir()) / "logs" / "wait.log").is_file()
