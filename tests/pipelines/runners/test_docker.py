"""Pipelines in containers: a real engine, real containers, tiny steps; and the real pipeline against the local one."""

import http.server
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl
from kfp.dsl import base_component
from rich.console import Console

from components import STEPS_IMAGE
from pipelines import container_images
from pipelines.display import Display
from pipelines.run_folder import RunFolder, StepError
from pipelines.runners import docker
from pipelines.runners.engine import LABEL, Engine
from pipelines.runners.engine_connection import EngineError

pytestmark = pytest.mark.docker

IMAGE = container_images.local_reference(STEPS_IMAGE)
ROOT = Path(__file__).parents[3]
SOMEBODY = 12345


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def speak(text: str, said: dsl.Output[dsl.Artifact]) -> None:
    """Write the text down and say it."""
    import sys
    from pathlib import Path

    from components.mnist.progress import say

    Path(said.path).write_text(text)
    say(f"heard: {text}")
    print("a library's chatter", file=sys.stderr)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ask(answer: dsl.Output[dsl.Artifact]) -> None:
    """Ask on standard error, within a line on standard output, and wait for the answer."""
    import sys
    import time
    from pathlib import Path

    print("half a line, ", end="", flush=True)
    print("a question", file=sys.stderr, flush=True)
    for _ in range(600):
        if Path(answer.path).exists():
            break
        time.sleep(0.1)
    print("and its other half: ✓" if Path(answer.path).exists() else "and no answer")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def look_around(seen: dsl.Output[dsl.Artifact]) -> None:
    """Write down what this container allows."""
    import json
    import os
    import tempfile
    from pathlib import Path

    def can_write(folder: str) -> bool:
        try:
            with tempfile.TemporaryFile(dir=folder):
                return True
        except OSError:
            return False

    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    facts = {
        "writable": [folder for folder in ("/", "/etc", "/opt", "/tmp", "/var", ".") if can_write(folder)],
        "scratch": can_write(os.environ["TMPDIR"]),
        "tmp_bytes": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize,
        "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
        "no_new_privileges": status["NoNewPrivs"],
        "user": [os.getuid(), os.getgid()],
        "interfaces": [path.name for path in Path("/sys/class/net").iterdir()],
        "home": str(Path.home()),
    }
    Path(seen.path).write_text(json.dumps(facts))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(source: str, got: dsl.Output[dsl.Artifact]) -> None:
    """Read a source the plain way."""
    from pathlib import Path
    from urllib.request import urlopen

    text = urlopen(source, timeout=300).read().decode() if "://" in source else Path(source).read_text()
    Path(got.path).write_text(text)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def spoil(given: dsl.Input[dsl.Artifact], taken: dsl.Output[dsl.Artifact]) -> None:
    """Read an artifact, then try to change it."""
    from pathlib import Path

    Path(taken.path).write_text(Path(given.path).read_text())
    Path(given.path).write_text("spoilt")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def refuse() -> None:
    """Fail as the library does."""
    from components.mnist.errors import DataError, reports_errors

    def read() -> None:
        raise DataError("digits.npz: empty file. Give another.")

    reports_errors(read)()


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def devour() -> None:
    """Take memory until there is none."""
    hoard = []
    while True:
        hoard.append(bytearray(b"x" * 2**24))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fill(folder: str) -> None:
    """Write until the disk is full."""
    from pathlib import Path

    with Path(folder, "large").open("wb") as file:
        while True:
            file.write(b"x" * 2**24)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def leave(code: int, said: dsl.Output[dsl.Artifact]) -> None:
    """End without a word, and without the output that was promised."""
    import os

    os._exit(code)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def forget(said: dsl.Output[dsl.Artifact], numbers: dsl.Output[dsl.Metrics]) -> None:
    """Succeed without writing what was promised; metrics may be metadata only."""
    numbers.log_metric("accuracy", 0.5)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def wait() -> None:
    """Run until somebody ends it."""
    import time

    print("waiting", flush=True)
    time.sleep(600)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(require_gpu: bool) -> None:
    """Bears the name of the step that gets a GPU."""
    print("training")


@dsl.pipeline(name="speaking")
def speaking(text: str) -> None:
    speak(text=text)


@dsl.pipeline(name="asking")
def asking() -> None:
    ask()


@dsl.pipeline(name="looking")
def looking() -> None:
    look_around()


@dsl.pipeline(name="ingesting")
def ingesting(source: str) -> None:
    ingest(source=source)


@dsl.pipeline(name="spoiling")
def spoiling() -> None:
    spoil(given=speak(text="good").outputs["said"])


@dsl.pipeline(name="refusing")
def refusing() -> None:
    speak(text="too late").after(refuse())


@dsl.pipeline(name="devouring")
def devouring() -> None:
    devour()


@dsl.pipeline(name="filling")
def filling(folder: str) -> None:
    fill(folder=folder)


@dsl.pipeline(name="leaving")
def leaving(code: int) -> None:
    leave(code=code)


@dsl.pipeline(name="forgetting")
def forgetting() -> None:
    forget()


@dsl.pipeline(name="waiting")
def waiting() -> None:
    wait()


@dsl.pipeline(name="training")
def gpu_training(require_gpu: bool) -> None:
    train(require_gpu=require_gpu)


def containers(engine: Engine, folder: Path) -> list[str]:
    """Names of the steps' containers that write into a folder, running or not."""
    found = engine.client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return [
        container.name
        for container in found
        if any(mount.get("Source", "").startswith(str(folder)) for mount in container.attrs["Mounts"])
    ]


@pytest.fixture(autouse=True)
def nothing_left_behind(engine: Engine, tmp_path: Path) -> Iterator[None]:
    yield
    assert containers(engine, tmp_path) == []


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs", title="")


@pytest.fixture
def display(tmp_path: Path) -> Display:
    """A display that writes to a file, as in a log."""
    return Display(Console(file=(tmp_path / "shown").open("w"), width=200), verbose=False)


@pytest.fixture
def derive(engine: Engine) -> Iterator[Callable[[str, str], str]]:
    """Builds an image from that of the steps: a tag, and the lines that differ."""
    built = []

    def build(tag: str, lines: str) -> str:
        engine.client.images.build(fileobj=BytesIO(f"FROM {IMAGE}\n{lines}\n".encode()), tag=tag, rm=True)
        built.append(tag)
        return tag

    yield build
    for tag in built:
        engine.client.images.remove(tag, force=True)


def with_image(component: base_component.BaseComponent, image: str) -> base_component.BaseComponent:
    """A pipeline of one step, in another image."""

    @dsl.pipeline(name="other-image")
    def pipeline() -> None:
        component().set_container_image(image)

    return pipeline


def test_a_run_looks_like_a_local_one(run: RunFolder, display: Display, tmp_path: Path) -> None:
    text = "/opt/python3 $HOME `ls` \"quoted\" 'twice' 数字"
    docker.run(speaking, {"text": text}, run=run, display=display)
    assert (run.steps / "speak" / "said").read_text() == text
    log = (run.logs / "speak.log").read_text().splitlines()
    assert f"container: {IMAGE}, memory up to 2g, no network" in log
    assert f"heard: {text}" in log
    assert "a library's chatter" in log
    assert (tmp_path / "shown").read_text().startswith(f"speak\n  heard: {text}\n")
    assert sorted(path.name for path in run.folder.iterdir()) == ["logs", "run.json", "steps"]


class Reacting(Display):
    """Calls something when a step prints this line."""

    def __init__(self, expected: str, react: Callable[[], object]) -> None:
        super().__init__(Console(file=StringIO()), verbose=True)
        self.expected = expected
        self.react = react

    def show_line(self, line: str) -> None:
        if line.rstrip() == self.expected:
            self.react()


def test_lines_arrive_while_the_step_runs_and_their_halves_do_not_mix(run: RunFolder) -> None:
    def answer() -> None:
        (folder,) = run.folder.glob("kfp/*/ask")
        (folder / "answer").touch()

    docker.run(asking, {}, run=run, display=Reacting("a question", answer))
    log = (run.logs / "ask.log").read_text().splitlines()
    assert log.index("a question") < log.index("half a line, and its other half: ✓")


def test_a_container_may_do_what_its_step_needs_and_no_more(run: RunFolder, display: Display) -> None:
    docker.run(looking, {}, run=run, display=display)
    facts = run.read_json("look-around", "seen", "") or {}
    assert facts == {
        "writable": ["/tmp"],
        "scratch": True,
        "tmp_bytes": 512 * 2**20,
        "capabilities": 0,
        "no_new_privileges": "1",
        "user": [os.getuid(), os.getgid()],
        "interfaces": ["lo"],
        "home": "/tmp",
    }


def test_an_input_artifact_cannot_be_changed(run: RunFolder, display: Display) -> None:
    with pytest.raises(StepError, match="spoil: ended with exit code 1"):
        docker.run(spoiling, {}, run=run, display=display)
    # Not the last line for certain: the engine forwards two streams, and their order is not kept.
    assert "Read-only file system" in (run.logs / "spoil.log").read_text()
    assert (run.steps / "spoil" / "taken").read_text() == "good"
    assert (run.steps / "speak" / "said").read_text() == "good"


@pytest.mark.parametrize("given", ["words.txt", "../here/words.txt", "{here}/words.txt"])
def test_a_source_on_this_machine_is_read_under_the_name_that_was_given(
    run: RunFolder, display: Display, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "words.txt").write_text("found")
    monkeypatch.chdir(here)
    docker.run(ingesting, {"source": given.format(here=here)}, run=run, display=display)
    assert (run.steps / "ingest" / "got").read_text() == "found"
    assert f'"source": "{given.format(here=here)}"' in (run.logs / "ingest.log").read_text()


def test_a_remote_source_is_downloaded(engine: Engine, run: RunFolder, display: Display) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from afar")

        def log_message(self, *_: object) -> None:
            pass

    network = engine.client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Subnet"]
    gateway = ipaddress.ip_network(network)[1]
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        docker.run(ingesting, {"source": f"http://{gateway}:{server.server_port}/"}, run=run, display=display)
        server.shutdown()
    assert (run.steps / "ingest" / "got").read_text() == "from afar"


def test_files_belong_to_whoever_ran_it() -> None:
    # The first run loads what Python loads late; then it becomes somebody who may not read where Python lies.
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom rich.console import Console\n"
        "from pipelines.display import Display\nfrom pipelines.run_folder import RunFolder\n"
        "from pipelines.runners import docker\nfrom tests.pipelines.runners.test_docker import speaking\n"
        "def once(folder):\n"
        "    docker.run(speaking, {'text': 'mine'}, run=RunFolder(Path(folder), title=''), "
        "display=Display(Console(), verbose=False))\n"
        "once(sys.argv[1] + '/first')\n"
        "group = os.stat('/var/run/docker.sock').st_gid if os.path.exists('/var/run/docker.sock') else 0\n"
        f"os.getuid() or (os.setgroups([group]), os.setgid({SOMEBODY}), os.setuid({SOMEBODY}))\n"
        "once(sys.argv[1] + '/second')\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)  # pytest's own folders are closed to others
        finished = subprocess.run(
            [sys.executable, "-c", program, name],
            cwd=ROOT,
            env={
                **os.environ,
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert finished.returncode == 0, finished.stderr
        files = list((folder / "second").rglob("*"))
        owners = {(file.stat().st_uid, file.stat().st_gid) for file in files}
    assert "said" in {file.name for file in files}
    assert owners == {(SOMEBODY, SOMEBODY) if os.getuid() == 0 else (os.getuid(), os.getgid())}


def test_a_failed_step_shows_the_librarys_own_line_and_stops_the_run(run: RunFolder, display: Display) -> None:
    with pytest.raises(StepError) as failure:
        docker.run(refusing, {}, run=run, display=display)
    assert failure.value.step == "refuse"
    assert failure.value.message == "digits.npz: empty file. Give another."
    assert "DataError" in failure.value.details
    assert not (run.steps / "speak").exists()


def test_a_step_killed_for_memory_says_so_with_its_limit(
    run: RunFolder, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_MEMORY", "96m")
    with pytest.raises(
        StepError,
        match=r"devour: killed .*because it needed more than its 96m of memory\. Give it .*: MNIST_MEMORY=192m",
    ):
        docker.run(devouring, {}, run=run, display=display)


def test_a_full_tmp_ends_the_step(run: RunFolder, display: Display) -> None:
    with pytest.raises(StepError, match="fill: ended with exit code 1"):
        docker.run(filling, {"folder": "/tmp"}, run=run, display=display)
    assert "No space left on device" in (run.logs / "fill.log").read_text()


@pytest.mark.parametrize(
    ("code", "message"), [(3, "exit code 3"), (0, r"did not write executor_output\.json, said\.$"), (137, "killed")]
)
def test_a_step_that_ends_at_once_is_no_success(run: RunFolder, display: Display, code: int, message: str) -> None:
    with pytest.raises(StepError, match=message):
        docker.run(leaving, {"code": code}, run=run, display=display)


def test_a_step_that_forgets_an_output_is_no_success(run: RunFolder, display: Display) -> None:
    with pytest.raises(StepError, match=r"forget: ended without an error, but did not write said\."):
        docker.run(forgetting, {}, run=run, display=display)


def test_a_step_killed_from_outside_is_no_success(engine: Engine, run: RunFolder, tmp_path: Path) -> None:
    def kill() -> None:
        (name,) = containers(engine, tmp_path)
        engine.client.containers.get(name).kill()

    with pytest.raises(StepError, match="wait: killed from outside"):
        docker.run(waiting, {}, run=run, display=Reacting("waiting", kill))


def test_a_container_that_somebody_removes_is_no_success(engine: Engine, run: RunFolder, tmp_path: Path) -> None:
    def remove() -> None:
        (name,) = containers(engine, tmp_path)
        engine.client.containers.get(name).remove(force=True)

    with pytest.raises((EngineError, StepError), match=r"removed while it ran|killed from outside"):
        docker.run(waiting, {}, run=run, display=Reacting("waiting", remove))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_container(engine: Engine, tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import signal, sys\nfrom pathlib import Path\nfrom rich.console import Console\n"
        "from pipelines.display import Display\nfrom pipelines.run_folder import RunFolder\n"
        "from pipelines.runners import docker\n"
        "from tests.pipelines.runners.test_docker import waiting\n"
        # SIGINT too: a test run in the background starts its children with SIGINT ignored.
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
        "    signal.signal(number, signal.default_int_handler)\n"
        "shown = Display(Console(file=sys.stdout), verbose=True)\n"
        "docker.run(waiting, {}, run=RunFolder(Path(sys.argv[1]), title=''), display=shown)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as outer:
        assert any("waiting" in line for line in outer.stdout or ())
        assert containers(engine, tmp_path)
        outer.send_signal(number)
        outer.send_signal(number)  # impatience changes nothing
        assert outer.wait(timeout=300) != 0  # the step would run longer
    assert containers(engine, tmp_path) == []
    assert list(tmp_path.glob("*/scratch-*")) == []


def test_a_missing_image_names_the_command_that_builds_it(run: RunFolder, display: Display) -> None:
    with pytest.raises(EngineError, match=r"mnist-none:1: no such image, and none is ever pulled\. Build it: make"):
        docker.run(with_image(refuse, "mnist-none:1"), {}, run=run, display=display)
    assert list(run.logs.iterdir()) == []


def test_an_image_of_other_code_is_refused(run: RunFolder, display: Display, derive: Callable[[str, str], str]) -> None:
    image = derive(f"{STEPS_IMAGE}:other", f"LABEL {docker.REVISION}={'0' * 12}")
    with pytest.raises(EngineError, match=r"built from the code 0{12}, but this code is [0-9a-f]{12}\. Build it"):
        docker.run(with_image(refuse, image), {}, run=run, display=display)


def test_an_entry_point_does_not_swallow_the_step(
    run: RunFolder, display: Display, derive: Callable[[str, str], str]
) -> None:
    image = derive("mnist-test-entrypoint:1", 'ENTRYPOINT ["true"]')
    with pytest.raises(StepError, match=r"digits\.npz: empty file"):
        docker.run(with_image(refuse, image), {}, run=run, display=display)


def test_an_image_without_python_says_what_is_missing(
    run: RunFolder, display: Display, derive: Callable[[str, str], str]
) -> None:
    image = derive("mnist-test-nothing:1", "ENV PATH=/nowhere")
    with pytest.raises((EngineError, StepError), match="not found"):
        docker.run(with_image(refuse, image), {}, run=run, display=display)


def test_a_required_gpu_that_is_missing_is_refused_before_the_run(
    engine: Engine, run: RunFolder, display: Display
) -> None:
    if not engine.try_gpu(IMAGE):
        pytest.skip("this engine has a GPU")
    with pytest.raises(EngineError, match=r"require_gpu is true, but a container gets no GPU\. .*require_gpu=false"):
        docker.run(gpu_training, {"require_gpu": True}, run=run, display=display)
    assert list(run.logs.iterdir()) == []
    docker.run(gpu_training, {"require_gpu": False}, run=run, display=display)


def mnist(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, as a person would."""
    return subprocess.run(
        [Path(sys.executable).parent / "mnist", *words], cwd=folder, capture_output=True, text=True, timeout=600
    )


def test_containers_and_this_python_predict_the_same_to_the_last_bit(tmp_path: Path) -> None:
    """Equal packages, CPU, cores, data and seed; see the README for what makes a difference of up to 1e-4."""
    predictions = []
    for runner in ("local", "docker"):
        finished = mnist("run", "--on", runner, "--runs", runner, "source=sample", "epochs=2", folder=tmp_path)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        latest = tmp_path / runner / "latest"
        assert (latest / "report.html").is_file()
        predictions.append(np.load(latest / "steps" / "evaluate" / "predictions" / "probabilities.npy"))
    local, contained = predictions
    assert local.shape == (360, 10)
    assert np.abs(local - contained).max() == 0

    steps = tmp_path / "docker" / "latest" / "steps"
    alone = mnist(
        "step", "evaluate", "--on", "docker", f"model={steps}/train/model", f"test_data={steps}/ingest/test_data",
        folder=tmp_path,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stdout + alone.stderr
    (again,) = (tmp_path / "runs").glob("*-evaluate/steps/evaluate/predictions/probabilities.npy")
    assert np.array_equal(np.load(again), contained)
    assert re.search(r"predictions\s+runs/", alone.stdout)


@pytest.mark.mnist
def test_the_whole_of_mnist_stays_within_the_limits_of_its_containers(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copyfile(ROOT / "data" / "mnist.npz", tmp_path / "data" / "mnist.npz")
    finished = mnist("run", "--on", "docker", "epochs=1", folder=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    latest = tmp_path / "runs" / "latest"
    metrics = json.loads((latest / "steps" / "evaluate" / "metrics" / "metrics.json").read_text())
    assert metrics["count"] == 10_000
    assert metrics["accuracy"] >= 0.97
    assert json.loads((latest / "run.json").read_text())["parameters"]["source"] == "mnist"
