"""The images themselves, in a real engine: what is in them, under whom they run, and how they are built and pushed."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from components import STEPS_IMAGE, TRAINER_IMAGE
from pipelines import container_images
from pipelines.steps import STEPS

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
ENGINE = os.environ.get("ENGINE", "docker")
MOST_MEGABYTES = {STEPS_IMAGE: 600, TRAINER_IMAGE: 2500}
SOMEBODY = 54321  # in no /etc/passwd, as OpenShift chooses users
BUILDERS = ("ar", "as", "c++", "cargo", "cc", "clang", "cmake", "g++", "gcc", "git", "go", "ld", "make", "rustc", "uv")
both_images = pytest.mark.parametrize("image", [STEPS_IMAGE, TRAINER_IMAGE])


def engine(*words: str, folder: Path = ROOT, **environment: str) -> str:
    """What the engine's command prints; a failure shows what it said."""
    return command(ENGINE, *words, folder=folder, **environment)


def command(*words: str, folder: Path = ROOT, **environment: str) -> str:
    finished = subprocess.run(words, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment})
    assert finished.returncode == 0, f"{' '.join(words[:4])}...: {finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return finished.stdout


def give_up(reason: str) -> None:
    """Skip where somebody merely has no engine; fail where tests must have one."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """The images of this code exist."""
    if not shutil.which(ENGINE) or subprocess.run([ENGINE, "info"], capture_output=True).returncode:
        give_up(f"no {ENGINE} answers: containers/engine.sh start")
    for image in MOST_MEGABYTES:
        reference = container_images.local_reference(image)
        if subprocess.run([ENGINE, "image", "inspect", reference], capture_output=True).returncode:
            give_up(f"{reference} is missing: make images")


def inspect(reference: str) -> dict:
    return json.loads(engine("image", "inspect", reference))[0]


def run(image: str, script: str, *options: str) -> str:
    """What a shell prints in a new container."""
    return engine(
        "run", "--rm", "--network", "none", *options, container_images.local_reference(image), "sh", "-euc", script
    )


@both_images
def test_an_image_says_where_it_comes_from(image: str) -> None:
    labels = inspect(container_images.local_reference(image))["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == image
    assert labels[f"{prefix}revision"] == container_images.tag()
    assert labels[f"{prefix}version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert re.fullmatch(r"(https?://[^@]+)?", labels[f"{prefix}source"])


@both_images
def test_an_image_runs_as_a_number_that_is_not_root_and_has_no_entry_point(image: str) -> None:
    config = inspect(container_images.local_reference(image))["Config"]
    assert re.fullmatch(r"[1-9]\d*:0", config["User"])
    assert not config.get("Entrypoint")
    assert run(image, "id -u").strip() == config["User"].removesuffix(":0")


@both_images
def test_an_image_stays_small(image: str) -> None:
    megabytes = inspect(container_images.local_reference(image))["Size"] / 1e6
    assert megabytes < MOST_MEGABYTES[image]


@both_images
def test_an_image_holds_no_builder_no_cache_and_nothing_of_how_it_was_built(image: str) -> None:
    found = run(
        image,
        f"""for name in {" ".join(BUILDERS)}; do command -v "$name" || true; done
        find / -xdev \\( -name .cache -o -name .netrc -o -name pip.conf -o -name uv.toml -o -name .git \\) -print
        find /build /tmp /root -mindepth 1 ! -name .bashrc ! -name .profile 2>/dev/null || true""",
        "--user",
        "0",
    )
    assert found == ""
    history = engine("history", "--no-trunc", "--format", "{{.CreatedBy}}", container_images.local_reference(image))
    assert "INDEX_URL" not in history
    assert "LABEL" in history  # so the search had something to look through


@both_images
def test_every_library_keeps_its_byte_code(image: str) -> None:
    # A read-only root file system would have every step compile what it imports.
    folders = "/opt/mnist/components /opt/venv/lib"
    count = f"find {folders} -name '*.py' | wc -l; find {folders} -name '*.pyc' | wc -l"
    sources, compiled = map(int, run(image, count).split())
    assert sources > 3000
    assert compiled == sources


def test_only_the_trainer_has_tensorflow() -> None:
    look = "python3 -c 'from importlib.util import find_spec as s; print(s(\"tensorflow\") is not None)'"
    assert [run(image, look).strip() for image in (STEPS_IMAGE, TRAINER_IMAGE)] == ["False", "True"]


@both_images
def test_packages_are_exactly_those_of_the_lock(image: str) -> None:
    listed = run(
        image,
        "python3 -c 'from importlib.metadata import distributions as d\nfor x in d(path=[p for p in "
        '__import__("sys").path if p.startswith("/opt/venv")]): print(x.name, x.version)\'',
    )
    found = dict(line.split() for line in listed.splitlines())
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    locked = {(_plain(name), version) for name, version in pins}
    assert "numpy" in found
    assert {(_plain(name), version) for name, version in found.items()} <= locked


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user may write to; emptied by the user that wrote."""
    folder = tmp_path / "outside"
    folder.mkdir()
    folder.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    yield folder
    run(STEPS_IMAGE, "rm -rf /outside/*", *_locked_down(folder, memory="256m"))


def _locked_down(folder: Path, *, memory: str) -> list[str]:
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    return [*options, "--user", f"{SOMEBODY}:0", "--memory", memory, "--volume", f"{folder}:/outside"]


def _run_component(name: str, folder: Path, arguments: Mapping[str, object], *, memory: str) -> None:
    """Run a component as KFP's launcher does: its compiled command, and paths of artifacts in JSON."""
    component = STEPS[name].component
    spec = component.component_spec
    container = spec.implementation.container

    def artifact(producer: str, output: str, kind: str) -> dict:
        uri = f"/outside/{producer}/{output}"
        return {"artifacts": [{"name": output, "type": {"schemaTitle": kind}, "uri": uri, "metadata": {}}]}

    inputs = {
        key: artifact(str(arguments[key]), key, "system.Artifact")
        for key, value in (spec.inputs or {}).items()
        if value.type.startswith("system.")
    }
    outputs = {key: artifact(name, key, value.type.partition("@")[0]) for key, value in spec.outputs.items()}
    executor_input = {
        "inputs": {
            "parameterValues": {key: value for key, value in arguments.items() if key not in inputs},
            "artifacts": inputs,
        },
        "outputs": {"artifacts": outputs, "outputFile": f"/outside/{name}/executor_output.json"},
    }
    engine(
        *("run", "--rm", "--network", "none", *_locked_down(folder, memory=memory)),
        container_images.local_reference(container.image),
        *container.command,
        *("--executor_input", json.dumps(executor_input), "--function_to_execute", name),
    )


def test_every_step_runs_for_any_user_without_network_and_without_a_writable_root(outside: Path) -> None:
    data = {"training_data": "ingest", "validation_data": "ingest", "test_data": "ingest"}
    fractions = {"validation_fraction": 0.1, "test_fraction": 0.2}
    _run_component("ingest", outside, {"source": "sample", "polarity": "auto", "seed": 1, **fractions}, memory="512m")
    recipe = {"epochs": 1, "batch_size": 128, "learning_rate": 0.002, "label_smoothing": 0.05, "shift": 1}
    settings = {**recipe, "precision": "auto", "seed": 1, "require_gpu": False}
    given = {key: data[key] for key in ("training_data", "validation_data")}
    _run_component("train", outside, {**given, **settings}, memory="2g")
    tested = {"model": "train", "test_data": "ingest"}
    _run_component("evaluate", outside, tested, memory="512m")
    drawn = {**data, "model": "train", "history": "train", "metrics": "evaluate", "predictions": "evaluate"}
    _run_component("visualize", outside, drawn, memory="512m")

    assert b"<html" in (outside / "visualize" / "report").read_bytes()
    assert json.loads((outside / "evaluate" / "metrics" / "metrics.json").read_text())["count"] > 300
    assert {file.stat().st_uid for file in outside.rglob("*")} == {SOMEBODY}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This project as a zip download has it, as far as images need it, with a change in the code."""
    folder = tmp_path / "copy"
    for path in (*container_images.INPUTS, "containers", "pipelines"):
        if (ROOT / path).is_dir():
            shutil.copytree(
                ROOT / path, folder / path, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    # A change, so that the name is another one: tests remove images of this name.
    file = folder / "components" / "mnist" / "errors.py"
    file.write_text(file.read_text() + f"\nCHANGED = {time.time()}\n")
    return folder


def test_a_change_of_code_changes_one_layer_and_the_name(copy: Path) -> None:
    # A checkout under a strict umask must not give images that only root can read.
    (copy / "components" / "mnist" / "errors.py").chmod(0o600)
    # A repository around the project is not where the image comes from.
    command("git", "init", "--quiet", folder=copy.parent)
    command("git", "remote", "add", "origin", "https://example.com/foreign.git", folder=copy.parent)
    table = command("containers/build.sh", folder=copy, PYTHON=sys.executable)
    tag = command(sys.executable, "-m", "pipelines.container_images", "tag", folder=copy, PYTHONPATH="").strip()
    assert tag != container_images.tag()
    try:
        for image in (STEPS_IMAGE, TRAINER_IMAGE):
            assert re.search(rf"^{image}:{tag} +\d+ MB +\d+ s$", table, re.M)
            before, after = inspect(container_images.local_reference(image)), inspect(f"{image}:{tag}")
            # Packages that were installed again would give another layer.
            layers = zip(before["RootFS"]["Layers"], after["RootFS"]["Layers"], strict=True)
            assert sum(old != new for old, new in layers) == 1
            assert after["Config"]["Labels"]["org.opencontainers.image.source"] == ""
        program = "from components.mnist.errors import CHANGED; print(CHANGED)"
        shown = engine("run", "--rm", "--network", "none", f"{STEPS_IMAGE}:{tag}", "python3", "-c", program)
        assert float(shown) > 0
    finally:
        engine("rmi", *(f"{image}:{tag}" for image in (STEPS_IMAGE, TRAINER_IMAGE)))


def test_no_engine_is_one_clear_line(copy: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock", "ENGINE": "docker"}
    finished = subprocess.run(["containers/build.sh"], capture_output=True, text=True, cwd=copy, env=environment)
    assert finished.returncode == 1
    assert finished.stderr.startswith(
        "docker does not answer: its engine is not running, or this user may not use it.\n"
    )
    assert finished.stdout == ""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a real registry on this machine."""
    if not shutil.which("docker-registry"):
        give_up("no registry to push to: sudo apt-get install -y docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(settings))
    with (tmp_path / "registry.log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(tmp_path / "registry.yml")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/v2/", timeout=30).close()
                break
            except URLError:
                assert process.poll() is None, (tmp_path / "registry.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_what_was_pushed_can_be_pulled_by_the_digests_in_the_lock(
    copy: Path, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_images, "ROOT", copy)
    tag = container_images.tag()
    references = [f"{image}:{tag}" for image in container_images.IMAGES]
    for reference in references:
        # Small ones under the names of the real ones: what is tried here is the pushing.
        (tmp_path / "file").write_text(reference)
        command("tar", "-C", str(tmp_path), "-cf", str(tmp_path / "image.tar"), "file")
        engine("import", str(tmp_path / "image.tar"), reference)
    options = {"PYTHON": sys.executable, "PUSH_OPTIONS": "--tls-verify=false" if ENGINE == "podman" else ""}
    try:
        engine("rmi", references[1])
        with pytest.raises(AssertionError, match=rf"{TRAINER_IMAGE}:{tag} is not on this machine: make images"):
            command("containers/push.sh", f"{registry}/team", folder=copy, **options)
        assert not (copy / "images.lock").exists()

        engine("tag", references[0], references[1])
        command("containers/push.sh", f"{registry}/team/", folder=copy, **options)
        locked = container_images.remote_references(copy / "images.lock")
        assert set(locked) == set(container_images.IMAGES)
        for image, reference in locked.items():
            assert reference.startswith(f"{registry}/team/{image}@sha256:")
            engine("pull", *options["PUSH_OPTIONS"].split(), reference)
            assert inspect(reference)["RootFS"]["Layers"] == inspect(f"{image}:{tag}")["RootFS"]["Layers"]
            engine("rmi", reference)
    finally:
        engine("rmi", "--force", *references)


def test_the_trainer_with_cuda_can_be_resolved_from_the_lock(tmp_path: Path) -> None:
    report = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--dry-run", "--target", str(tmp_path)),
            *("--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:"),
            *("--requirements", "pyproject.toml", "--extra", "gpu", "--constraints", "requirements.txt"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert report.returncode == 0, report.stderr
    planned = set(re.findall(r"^ \+ (\S+)==", report.stderr, re.M))
    assert {"tensorflow", "nvidia-cudnn-cu12", "numpy"} <= planned
