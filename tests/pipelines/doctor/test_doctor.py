"""`mnist doctor` as a person meets it: its lines, its exit code, and that it changes nothing."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.mnist.data.sources import SAMPLE
from components.mnist.errors import SettingError
from pipelines import checks, cli, container_images
from pipelines.checks import Check, Finding, NotCheckedError, Verdict, ok, perform
from pipelines.commands import doctor
from pipelines.doctor import data, machine, packages
from tests.conftest import MNIST
from tests.pipelines.test_container_images import checkout, git  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[3]


Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def mnist_doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The command in the current folder: its exit code, and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        printed = StringIO()
        monkeypatch.setattr(doctor, "console", Console(file=printed, highlight=False))
        return CliRunner().invoke(cli.app, ["doctor", *words], catch_exceptions=False).exit_code, printed.getvalue()

    return run


def read(printed: str) -> dict[str, tuple[str, str]]:
    """Verdict and words by the name of the check."""
    found = re.findall(r"^  (ok|warning|failing|not checked) +(\S.*?)  +(.*)$", printed, re.MULTILINE)
    return {name: (verdict, words) for verdict, name, words in found}


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, on a machine without an engine or a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    monkeypatch.setenv("MNIST_URL", "https://127.0.0.1:9/mnist.npz")
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    return tmp_path


def test_this_machine_is_fine_and_what_is_not_needed_only_warns(elsewhere: Path, mnist_doctor: Doctor) -> None:
    code, printed = mnist_doctor()
    assert code == 0
    lines = read(printed)
    assert lines["Python"][0] == lines["packages"][0] == lines["disk"][0] == lines["semaphores"][0] == "ok"
    assert lines["data"][0] == "warning"
    assert "127.0.0.1 cannot be reached" in lines["data"][1]
    assert "the sample of 1,797 digits" in lines["data"][1]
    assert lines["engine"][0] == "warning"
    assert lines["images"] == ("not checked", "because it needs engine, see above")
    assert printed.splitlines()[-1] == "7 ok, 2 warning, 3 not checked"


def test_an_engine_that_was_asked_for_and_is_missing_fails(elsewhere: Path, mnist_doctor: Doctor) -> None:
    code, printed = mnist_doctor("--on", "docker")
    assert code == 1
    verdict, words = read(printed)["engine"]
    assert verdict == "failing"
    assert "no.sock" in words
    assert read(printed)["GPU in containers"][0] == "not checked"


def test_nothing_is_changed_by_looking(elsewhere: Path, mnist_doctor: Doctor) -> None:
    (elsewhere / "mnist.toml").write_text('[cluster]\nplatform = "kubeflow"\nhost = "http://127.0.0.1:9"\n')
    shutil.copy(SAMPLE, elsewhere / "digits.npz")
    before, shared = snapshot(elsewhere), set(Path("/dev/shm").iterdir())
    for words in ((), ("--on", "docker"), ("--on", "cluster"), ("--on", "nowhere")):
        mnist_doctor(*words)
    assert snapshot(elsewhere) == before
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_a_missing_profile_is_one_failing_line(elsewhere: Path, mnist_doctor: Doctor) -> None:
    code, printed = mnist_doctor("--on", "cluster")
    assert code == 1
    assert read(printed)["profile"] == (
        "failing",
        "--on cluster: neither local nor docker, and there is no mnist.toml with profiles. Start from the example: "
        "cp mnist.example.toml mnist.toml",
    )
    assert read(printed)["Python"][0] == "ok"


def test_a_secret_in_the_profile_is_not_shown(elsewhere: Path, mnist_doctor: Doctor) -> None:
    (elsewhere / "mnist.toml").write_text(
        '[cluster]\nplatform = "kubeflow"\nhost = "http://user:hunter2@127.0.0.1"\npassword = "hunter2"\n'
    )
    for words in ((), ("--on", "cluster")):
        code, printed = mnist_doctor(*words)
        assert code == 1
        assert "hunter2" not in printed
        assert "unknown key password" in printed


# --- how checks are made -------------------------------------------------------------------------------------------


def look(function: Callable[[], Finding], **words: object) -> Finding:
    return perform(Check("it", function, **words), {})  # type: ignore[arg-type]


def test_an_error_that_a_check_raises_is_failing_in_its_own_words() -> None:
    def refuse() -> Finding:
        raise SettingError("host: wrong.\nCorrect it.")

    assert look(refuse) == Finding(Verdict.FAILING, "host: wrong. Correct it.")


def test_a_check_that_cannot_find_out_is_not_checked() -> None:
    def give_up() -> Finding:
        raise NotCheckedError("it is closed.")

    assert look(give_up) == Finding(Verdict.SKIPPED, "because it is closed.")


def test_a_check_that_breaks_says_where_but_hides_the_error_s_words() -> None:
    def break_down() -> Finding:
        raise KeyError("token=hunter2")

    found = look(break_down)
    assert found.verdict is Verdict.FAILING
    assert re.search(r"KeyError in test_doctor\.py, line \d+", found.text)
    assert "hunter2" not in found.text


def test_a_check_that_hangs_is_given_up() -> None:
    released = threading.Event()

    def hang() -> Finding:
        released.wait(60)
        return ok("late")

    found = look(hang, seconds=0.05)
    released.set()
    assert found.verdict is Verdict.FAILING
    assert "no answer within 0.05 seconds" in found.text


def test_a_failing_check_leaves_out_only_those_that_need_it() -> None:
    def refuse() -> Finding:
        raise SettingError("no.")

    passed: dict[str, bool] = {}
    made = [
        Check("first", refuse),
        Check("second", lambda: ok("fine"), needs=("first",)),
        Check("third", lambda: ok("fine"), needs=("second",)),
        Check("fourth", lambda: ok("fine")),
    ]
    texts = [perform(each, passed).text for each in made]
    assert texts == [
        "no.",
        "because it needs first, see above",
        "because it needs second, see above",
        "fine",
    ]


def test_a_check_that_could_not_find_out_leaves_out_nothing() -> None:
    def give_up() -> Finding:
        raise NotCheckedError("it is closed.")

    passed: dict[str, bool] = {}
    perform(Check("first", give_up), passed)
    assert perform(Check("second", lambda: ok("fine"), needs=("first",)), passed) == ok("fine")


@pytest.mark.parametrize("make", [checks.fail, checks.warn])
def test_no_trouble_is_reported_without_a_remedy(make: Callable[..., Finding]) -> None:
    with pytest.raises(TypeError, match="remedy"):
        make("it is broken.")


# --- this machine --------------------------------------------------------------------------------------------------


def test_an_old_python_is_refused() -> None:
    found = machine.check_python((3, 10, 4))
    assert found.verdict is Verdict.FAILING
    assert "3.10.4, but 3.11 or newer is needed." in found.text
    assert "make install PYTHON=" in found.text


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the lock that is used instead of the project's own."""
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(container_images, "ROOT", tmp_path)
    return tmp_path / "requirements.txt"


def change(file: Path, pattern: str, replacement: str) -> None:
    changed, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count
    file.write_text(changed)


def test_the_environment_is_compared_with_the_lock(lock: Path) -> None:
    assert packages.check_packages(("train", "cli")).verdict is Verdict.OK
    version = np.__version__
    change(lock, r"^numpy==\S+", "numpy==1.0.0")
    found = packages.check_packages(("cli",))
    assert found.verdict is Verdict.FAILING
    assert f"numpy is {version}, locked 1.0.0." in found.text
    assert "make --always-make install" in found.text


def test_a_missing_package_is_named_where_its_extra_is_needed(lock: Path) -> None:
    change(lock.with_name("pyproject.toml"), r'^  "typer>=[^"]*",$', '  "typer>=0.16",\n  "no-such-thing",')
    assert "no-such-thing is not installed." in packages.check_packages(("cli",)).text
    assert packages.check_packages(("train",)).verdict is Verdict.OK


def test_versions_for_other_machines_do_not_count(lock: Path) -> None:
    versions = packages.read_lock(lock)
    assert "numpy" in versions
    assert "appnope" not in versions  # of macOS


def test_without_a_lock_nothing_is_claimed(lock: Path) -> None:
    lock.unlink()
    assert packages.check_packages(("cli",)).verdict is Verdict.SKIPPED


def test_a_folder_for_runs_that_cannot_be_written_is_failing() -> None:
    found = machine.check_disk(Path("/proc/runs"))
    assert found.verdict is Verdict.FAILING
    assert "mnist run --runs FOLDER" in found.text


def test_a_disk_without_room_for_a_run_is_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RUN_BYTES", shutil.disk_usage(tmp_path).total)
    assert machine.check_disk(tmp_path / "runs").verdict is Verdict.FAILING
    monkeypatch.setattr(machine, "RUN_BYTES", 1)
    monkeypatch.setattr(machine, "ROOM_BYTES", shutil.disk_usage(tmp_path).total)
    assert machine.check_disk(tmp_path / "runs").verdict is Verdict.WARNING


def test_the_name_of_the_code_and_its_commit_are_reported(checkout: Path) -> None:  # noqa: F811
    name, head = container_images.tag(), git(checkout, "rev-parse", "HEAD")[:12]
    assert machine.check_code() == ok(f"{name}, of commit {head}")
    (checkout / "components" / "step.py").write_text("answer = 43\n")
    assert machine.check_code() == ok(f"{container_images.tag()}, of commit {head}, with uncommitted changes")
    (checkout / ".git" / "HEAD").write_text("nonsense")
    found = machine.check_code()
    assert found.verdict is Verdict.WARNING
    assert "cannot read this checkout" in found.text
    (checkout / ".git").rename(checkout.parent / "elsewhere")
    assert machine.check_code().verdict is Verdict.OK
    assert "not a git checkout" in machine.check_code().text


def test_without_git_it_says_what_is_lost(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # noqa: F811
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine.check_code()
    assert found.verdict is Verdict.WARNING
    assert "git is missing or cannot read this checkout, so runs record no commit." in found.text


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="needs to mount")
def test_a_dev_shm_that_cannot_be_written_to_is_failing() -> None:
    program = "from pipelines.doctor.machine import check_semaphores as look; print(look())"
    # A mount of its own in a namespace of its own: nobody else sees it.
    command = f"mount -t tmpfs -o ro none /dev/shm && exec \"$0\" -c '{program}'"
    finished = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", command, sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "FAILING" in finished.stdout, finished.stderr
    assert "Read-only file system" in finished.stdout


def nvidia_smi(folder: Path, script: str) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


def test_a_gpu_without_its_libraries_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo 'NVIDIA L4, 23034 MiB, 550.54.15'")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine.check_gpu()
    if None in packages.find_needed(("gpu",)).values():
        assert found.verdict is Verdict.WARNING
        assert "make --always-make install GPU=1" in found.text
    assert found.text.startswith("NVIDIA L4, 23034 MiB, 550.54.15")


def test_a_driver_that_does_not_answer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, 'echo "NVIDIA-SMI has failed because it couldn\'t communicate with the driver."; exit 9')
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine.check_gpu()
    assert found.verdict is Verdict.WARNING
    assert "couldn't communicate with the driver; training uses the CPU." in found.text


def test_a_machine_without_a_gpu_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "GPU_FILES", ())
    assert machine.check_gpu().verdict is Verdict.OK


def test_every_profile_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mnist.toml"
    file.write_text('[one]\nplatform = "kubeflow"\nhost = "http://127.0.0.1"\n\n[two]\nplatform = "mars"\n')
    with pytest.raises(SettingError, match=r"\[two\] has the platform 'mars'"):
        machine.check_profiles(file)
    file.write_text('[one]\nplatform = "kubeflow"\nhost = "http://127.0.0.1"\n')
    assert "has one;" in machine.check_profiles(file).text


# --- data ----------------------------------------------------------------------------------------------------------


@pytest.mark.mnist
def test_mnist_is_recognized_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.check_file(MNIST) == Finding(Verdict.OK, f"{MNIST} is MNIST, whole")
    with np.load(MNIST) as file:
        arrays = dict(file)
    arrays["y_test"] = arrays["y_test"].copy()
    arrays["y_test"][0] += 1
    np.savez(tmp_path / "mnist.npz", **arrays)
    found = data.check_file(tmp_path / "mnist.npz")
    assert found.verdict is Verdict.WARNING
    assert "can be read, but is not MNIST (y_test)" in found.text


@pytest.mark.parametrize("cut", [10, 5000, -10])
def test_a_damaged_file_is_failing(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "mnist.npz"
    file.write_bytes(SAMPLE.read_bytes()[:cut])
    found = data.check_file(file)
    assert found.verdict is Verdict.FAILING
    assert f"rm {file}" in found.text


def test_a_byte_that_changed_inside_is_noticed(tmp_path: Path) -> None:
    content = bytearray(SAMPLE.read_bytes())
    content[2000] ^= 1
    (tmp_path / "mnist.npz").write_bytes(content)
    assert data.check_file(tmp_path / "mnist.npz").verdict is Verdict.FAILING


def test_the_checksum_that_runs_are_given_is_used_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_SHA256", hashlib.sha256(SAMPLE.read_bytes()).hexdigest())
    assert data.check_file(SAMPLE).verdict is Verdict.OK


def test_the_address_is_asked_for_headers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.command)

    (tmp_path / "mnist.npz").write_bytes(b"x" * 1_500_000)
    monkeypatch.setenv("NO_PROXY", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MNIST_URL", f"{address}/mnist.npz")
        found = data.check_fetching(Path("data/mnist.npz"))
        assert found == ok("data/mnist.npz is missing; the next run fetches it from 127.0.0.1 (1.5 MB)")
        monkeypatch.setenv("MNIST_URL", f"{address}/gone.npz")
        assert "127.0.0.1 answers 404" in data.check_fetching(Path("data/mnist.npz")).text
        server.shutdown()
    assert set(asked) == {"HEAD"}
