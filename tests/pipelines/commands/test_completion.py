"""What Tab completes: in a real bash, and by the answers that Typer gives to the other shells."""

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = Path(sys.executable).parent
# Ctrl-O shows the line as it is then, in < >.
SETUP = r"""
PS1=; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; bind 'set page-completions off'
bind -x '"\C-o": printf "<%s>" "$READLINE_LINE"'; eval "$(_MNIST_COMPLETE=source_bash mnist)"; echo rea''dy
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("completion")
    shutil.copyfile(ROOT / "mnist.example.toml", made / "mnist.toml")
    (made / "lab.toml").write_text('[lab]\nplatform = "kubeflow"\n', encoding="utf-8")
    (made / "broken.toml").write_text("[lab", encoding="utf-8")
    (made / "digits.npz").touch()
    return made


class Bash:
    """An interactive bash on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.terminal, end = pty.openpty()
        environment = os.environ | {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "TERM": "dumb", "INPUTRC": os.devnull}
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=end,
            stdout=end,
            stderr=end,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(end)
        self.type(SETUP, until="ready\r\n")

    def type(self, keys: str, *, until: str) -> str:
        """Press keys and return what the terminal shows up to an expected text."""
        os.write(self.terminal, keys.encode())
        shown = b""
        while until.encode() not in shown:
            assert select.select([self.terminal], [], [], 60)[0], shown
            shown += os.read(self.terminal, 65536)
        return shown.decode()

    def close(self) -> None:
        """End it."""
        os.close(self.terminal)
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def bash(folder: Path) -> Iterator[Bash]:
    started = Bash(folder)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("mnist do", "mnist doctor "),
        ("mnist run ep", "mnist run epochs="),
        ("mnist run polarity=d", "mnist run polarity=dark "),
        ("mnist run polarity=", "mnist run polarity="),
        ("mnist run polarity=dark ep", "mnist run polarity=dark epochs="),
        ("mnist run require_gpu=t", "mnist run require_gpu=true "),
        ("mnist run source=dig", "mnist run source=digits.npz "),
        ("mnist run --epochs 5 ep", "mnist run --epochs 5 epochs="),
        ("mnist run --on d", "mnist run --on docker "),
        ("mnist run --on cl", "mnist run --on cluster "),
        ("mnist run --profiles lab.toml --on la", "mnist run --profiles lab.toml --on lab "),
        ("mnist run --profiles broken.toml --on do", "mnist run --profiles broken.toml --on docker "),
        ("mnist doctor --on v", "mnist doctor --on vertex "),
        ("mnist follow x --on c", "mnist follow x --on cluster "),
        ("mnist follow x --on lo", "mnist follow x --on lo"),
        ("mnist step ev", "mnist step evaluate "),
        ("mnist step train tr", "mnist step train training_data="),
        ("mnist step train precision=b", "mnist step train precision=bfloat16 "),
        ("mnist step evaluate model=dig", "mnist step evaluate model=digits.npz "),
        ("mnist step trains ep", "mnist step trains ep"),
        ("mnist schedule pause n", "mnist schedule pause nightly "),
        ("mnist schedule pause --on vertex w", "mnist schedule pause --on vertex weekly "),
        ("mnist schedule pause --on vertex n", "mnist schedule pause --on vertex n"),
    ],
)
def test_bash_completes(bash: Bash, line: str, completed: str) -> None:
    shown = bash.type(f"{line}\t\x0f", until=">")
    bash.type("\x15\x0f", until="<>")  # Ctrl-U empties the line
    assert shown[shown.rindex("<") :].partition(">")[0] == f"<{completed}"
    assert "Traceback" not in shown


def test_bash_lists_the_choices_of_a_parameter(bash: Bash) -> None:
    shown = bash.type("mnist run polarity=\t\t\x0f", until=">")
    bash.type("\x15\x0f", until="<>")
    assert {"auto", "dark", "light"} <= set(shown.split())
    assert "batch_size=" not in shown


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("mnist run ep", ["epochs="]),
        ("mnist run polarity=d", ["polarity=dark"]),
        ("mnist run --on cl", ["cluster"]),
        ("mnist follow x --on ", ["cluster", "vertex"]),
        ("mnist step evaluate t", ["test_data="]),
    ],
)
def test_other_shells_get_whole_words(folder: Path, shell: str, line: str, completed: list[str]) -> None:
    question = {
        "_MNIST_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    answer = subprocess.run([COMMANDS / "mnist"], cwd=folder, env=os.environ | question, capture_output=True, text=True)
    words = answer.stdout.replace("_arguments '*: :((", "").replace("))'", "").replace('"', "").split()
    assert words == completed
