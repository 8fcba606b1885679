"""The `mnist` command, as a person meets it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

EXAMPLE = str(Path(__file__).parents[3] / "mnist.example.toml")
COMMAND = Path(sys.executable).parent / "mnist"
NO_NETWORK = {"https_proxy": "http://127.0.0.1:9", "MNIST_URL": "https://127.0.0.1:9/mnist.npz"}


def mnist(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, as a person would, and wait for its end."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [COMMAND, *words], cwd=folder, capture_output=True, text=True, env=variables | environment, timeout=300
    )


def test_params_lists_every_parameter_with_its_default_and_meaning(tmp_path: Path) -> None:
    finished = mnist("params", folder=tmp_path, COLUMNS="200")
    assert finished.returncode == 0
    row = next(line for line in finished.stdout.splitlines() if line.startswith("validation_fraction"))
    assert row.split()[1] == "0.1"
    assert "choose the best epoch" in row


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "epoch=3"], "epoch: no such parameter; did you mean epochs? `mnist params` lists them all."),
        (["run", "epochs=0"], "epochs=0: expected 1 to 1000."),
        (["run", "polarity=blue"], "polarity=blue: expected auto, light or dark."),
        (["run", "polarity=darc"], "polarity=darc: did you mean dark?"),
        (["run", "=5"], "=5: expected name=value, as in source=VALUE."),
        (["run", "--on", "mars"], "--on mars: neither local nor docker, and there is no mnist.toml with profiles."),
        (["run", "--on", "dokcer"], "did you mean docker?"),
        (["compile", "--on", "Docker"], "did you mean docker?"),
        (["run", "--on", "clustre", "--profiles", EXAMPLE], "no such profile in"),
        (["run", "--profiles", EXAMPLE, "--on", "clustre"], "did you mean cluster?"),
        (["follow", "x", "--on", "mars"], "--on mars: there is no mnist.toml with profiles. Start from the example:"),
        (["follow", "x", "--on", "mars", "--profiles", EXAMPLE], "expected one of cluster, vertex."),
        (
            ["follow", "x", "--on", "local"],
            "--on local: runs on this machine cannot be followed,",
        ),
        (["schedule", "plan", "--on", "docker"], "expected a profile of mnist.toml."),
        (
            ["run", "source=sample", "--runs", "/proc/runs"],
            "/proc/runs: runs cannot be stored there (No such file or directory). Name a",
        ),
        (
            ["compile", "-o", "/proc/x.yaml"],
            "/proc/x.yaml: cannot be written (No such file or directory). Name another:",
        ),
        (["compile", "-o", "x.json"], "--output x.json: expected a name that ends with .yaml."),
        (["step", "evaluat"], "evaluat: no such step; did you mean evaluate?"),
        (["step", "train", "--on", "mars"], "--on mars: single steps run on this machine; expected local or docker."),
        (["step", "train", "--on", "locl"], "--on locl: single steps run on this machine; did you mean local?"),
        (["step", "evaluate", "model=."], "test_data: not given; expected the folder of each artifact:"),
        (["step", "evaluate", "model=nowhere", "test_data=."], "model=nowhere: no such folder;"),
        (["step", "evaluate", "epochs=3"], "epochs: evaluate has no such input; expected one of model, test_data."),
    ],
)
def test_a_wrong_word_gets_one_line_and_nothing_is_run(tmp_path: Path, words: list[str], message: str) -> None:
    finished = mnist(*words, folder=tmp_path)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert message in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_refused_in_the_librarys_words_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "digits.npz").write_bytes(b"<!DOCTYPE html><html>sign in</html>")
    finished = mnist("run", "source=digits.npz", folder=tmp_path)
    assert finished.returncode == 1
    assert "digits.npz" in finished.stderr
    assert "HTML" in finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr
    assert (tmp_path / "runs" / "latest" / "logs" / "ingest.log").is_file()
    assert not (tmp_path / "runs" / "latest" / "logs" / "train.log").exists()


def test_verbose_adds_the_traceback(tmp_path: Path) -> None:
    finished = mnist("run", "-v", "source=nowhere.npz", folder=tmp_path)
    assert finished.returncode == 1
    assert "Traceback" in finished.stderr + finished.stdout


def test_mnist_that_was_asked_for_is_never_replaced_by_the_sample(tmp_path: Path) -> None:
    finished = mnist("run", "source=mnist", folder=tmp_path, **NO_NETWORK)
    assert finished.returncode == 1
    assert "sample" not in finished.stdout
    assert "ingest" in finished.stderr


def test_compile_writes_one_file_that_names_its_pipeline(tmp_path: Path) -> None:
    finished = mnist("compile", "-o", "deep/pipeline.yaml", folder=tmp_path)
    assert finished.returncode == 0
    compiled = yaml.safe_load((tmp_path / "deep" / "pipeline.yaml").read_text())
    assert compiled["pipelineInfo"]["name"] == "mnist-training"


def test_help_lists_every_command_with_a_whole_sentence(tmp_path: Path) -> None:
    shown = mnist("--help", folder=tmp_path, COLUMNS="80").stdout
    listed = dict(re.findall(r"^  ([a-z-]+) {2,}(\S.*)$", shown.partition("Commands:")[2], re.MULTILINE))
    assert set(listed) == {"run", "step", "compile", "params", "follow", "cancel", "doctor", "schedule"}
    assert all(sentence.endswith(".") and not sentence.endswith("...") for sentence in listed.values()), listed


def test_help_of_run_lists_the_parameters_with_their_defaults(tmp_path: Path) -> None:
    shown = mnist("run", "-h", folder=tmp_path).stdout
    assert re.search(r"^  epochs=5 +passes over the training images", shown, re.MULTILINE)
    assert re.search(r"^  validation_fraction=0.1 ", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("run --epochs 5", "epochs=5"),
        ("run --batch-size=64", "batch_size=64"),
        ("run --require-gpu --on docker", "require_gpu=VALUE"),
        ("run --source", "source=VALUE"),
        ("step train --epochs 5", "epochs=5"),
    ],
)
def test_a_parameter_that_is_written_as_an_option_gets_its_right_form(tmp_path: Path, words: str, meant: str) -> None:
    finished = mnist(*words.split(), folder=tmp_path)
    assert finished.returncode == 2
    assert f"; did you mean {meant}?" in finished.stderr


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["step"], "mnist step [OPTIONS] NAME [NAME=VALUE]..."),
        (["follow"], "mnist follow [OPTIONS] RUN"),
        (["cancel"], "mnist cancel [OPTIONS] RUN"),
        *((["schedule", name], f"mnist schedule {name} [OPTIONS] NAME") for name in ("pause", "resume", "delete")),
        (["schedule", "run-now"], "mnist schedule run-now [OPTIONS] NAME"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_usage_names_what_is_required_without_braces(tmp_path: Path, words: list[str], usage: str) -> None:
    finished = mnist(*words, folder=tmp_path)
    assert finished.returncode == 2
    assert f"Usage: {usage}\n" in finished.stderr


# Not pydantic, which Typer imports itself, and not rich, with which errors are printed.
SLOW = {"kfp", "google.api_core", "kfp_server_api", "docker", "requests", "numpy", "keras", "yaml"}


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "rum",
        "run --onn x",
        "run --epochs 3",
        "run epochs",
        "run --on mars",
        "compile -o x.json",
        "follow x --on local",
        "schedule --help",
        "schedule plan --on mars",
        "step",
        "step trains",
        "step train epoch=3",
        "step train epochs=0",
        "step train --on mars",
    ],
)
def test_help_version_and_usage_errors_import_nothing_slow(words: str, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "try:\n"
        "    from pipelines.cli import main\n"
        "    main()\n"
        "except BaseException:\n"
        "    pass\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words.split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert not loaded & SLOW


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_where_it_got_to(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [COMMAND, "run", "source=sample", "epochs=1000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line == "train\n")
        process.send_signal(number)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    folder = (tmp_path / "runs" / "latest").readlink()
    assert told == f"Interrupted. The results so far are in runs/{folder}.\n"
    record = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    assert record["state"] == "interrupted"
    assert (tmp_path / "runs" / "latest" / "steps" / "ingest" / "training_data" / "manifest.json").is_file()
