"""Real but tiny data, and running fakes."""

import functools
import inspect
import shutil
import signal
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

from components.mnist.data.datasets import write_dataset
from components.mnist.data.sources import SAMPLE
from tests.fakes.storage_server import StorageServer, run_emulator, serve_storage
from tests.fakes.web import Web

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

    from tests.fakes.clock import Clock
    from tests.fakes.kubeflow.server import KubeflowServer
    from tests.fakes.project import Project
    from tests.fakes.vertex.server import VertexServer

# KFP asks for the stack at each setting of a task, and reads a name from it. With lines of the source, as is usual,
# that takes seconds per pipeline in a process that has loaded TensorFlow and Google's clients too.
inspect.stack.__defaults__ = (0,)
# However slow the machine is.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")
ROOT = Path(__file__).parents[1]
MNIST = ROOT / "data" / "mnist.npz"
# Otherwise one process would be left with them in the end.
SLOWEST = ("tests/project/", "tests/pipelines/commands/", "tests/mnist/training/")


def pytest_configure() -> None:
    """Let tests interrupt programs that they start, also where pytest itself runs in the background.

    A shell starts background jobs with SIGINT ignored, and programs hand that on to their children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    """Keep the tests of a module in one process, and those with containers too: each looks at all containers.

    xdist's own `--dist loadgroup` groups nothing under this version of pytest.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return find_group(nodeid.partition("::")[0])

    config.option.loadscopereorder = False  # the order below, and not the largest number of tests first
    return ByModule(config, log)


@functools.cache
def find_group(module: str) -> str:
    """The group of a module's tests: its path, or "docker" when it has tests in containers."""
    return "docker" if "pytest.mark.docker" in (ROOT / module).read_text(encoding="utf-8") else module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave out what needs the whole of MNIST where it has not been downloaded."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))
    for item in items:
        if "mnist" in item.keywords and not MNIST.exists():
            item.add_marker(pytest.mark.skip(reason=f"needs {MNIST}: run `mnist run` once, or put it there"))


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """Real digits: x_train, y_train, x_test, y_test; 200 for training and 60 for the test, all classes in both."""
    with np.load(SAMPLE) as file:
        return {key: file[key][: 200 if "train" in key else 60] for key in file}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A running web server without any page."""
    monkeypatch.setenv("NO_PROXY", "*")
    with Web() as web:
        yield web


@pytest.fixture(scope="session")
def emulator() -> Iterator[int]:
    """The port of a running emulator of Google Cloud Storage."""
    with run_emulator() as port:
        yield port


@pytest.fixture
def storage_server(emulator: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """A storage server for whoever asks for gs:// from here; remove the buckets that you make."""
    with serve_storage(emulator) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        monkeypatch.setenv("NO_PROXY", "*")
        yield server


@pytest.fixture
def vertex_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Iterator[VertexServer]":
    """A played Vertex AI that this process trusts and signs in to; clients that are made afterwards wait briefly."""
    # Loaded here: Google's clients take a second, and few tests need them.
    from tests.fakes.vertex.server import VertexServer, shorten_waits

    with VertexServer(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        shorten_waits(monkeypatch)
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """Time for clients of Kubeflow: it passes only while they wait."""
    # Loaded here: few tests need it.
    from tests.fakes.kubeflow.jobs import play_time

    return play_time(monkeypatch)


@pytest.fixture
def kubeflow_server(clock: "Clock", monkeypatch: pytest.MonkeyPatch) -> Iterator["KubeflowServer"]:
    """A played Kubeflow with the namespace team-a, which asks for no sign-in."""
    # Loaded here: few tests need it.
    from tests.fakes.kubeflow.server import KubeflowServer

    monkeypatch.setenv("NO_PROXY", "*")
    with KubeflowServer(namespaces=("team-a",)) as server:
        yield server


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """This project, cloned and with its images pushed."""
    # Loaded here: few tests need it.
    from tests.fakes.project import Project

    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def linear_run(digits: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ingest and train leave behind: training, validation, test, model and history.

    The model is a logistic regression on 160 real digits, so it makes real mistakes, and needs no TensorFlow.
    """
    # Loaded here: it takes seconds, and few tests need it.
    from sklearn.linear_model import LogisticRegression

    from components.mnist.model import ModelCard, TrainingMetrics, write_card
    from tests.recipe import RECIPE

    root = tmp_path_factory.mktemp("linear")
    names = tuple(str(number) for number in range(10))
    parts = {
        "training": (digits["x_train"][:160], digits["y_train"][:160]),
        "validation": (digits["x_train"][160:], digits["y_train"][160:]),
        "test": (digits["x_test"], digits["y_test"]),
    }
    hashes = {}
    for split, (images, labels) in parts.items():
        hashes[f"{split}_sha256"] = write_dataset(
            root / split,
            [(images, labels)],
            split=split,
            count=len(labels),
            classes=names,
            source="sample",
            origin="data/sample.npz",
            settings={"polarity": "auto", "validation_fraction": 0.2, "test_fraction": 0.2, "seed": 3},
            notes=(),
        ).sha256
    images, labels = parts["training"]
    fitted = LogisticRegression(C=0.01, max_iter=1000).fit(images.reshape(len(images), -1) / 255, labels)
    (root / "model").mkdir()
    write_linear_model(root / "model" / "model.onnx", fitted.coef_.T, fitted.intercept_)
    write_card(
        root / "model",
        ModelCard(
            classes=names,
            parameters=7850,
            input={"name": "images", "dtype": "float32", "shape": ["batch", 28, 28, 1], "range": [0, 1], "ink": 1},
            recipe=asdict(RECIPE),
            data={"source": "sample", "origin": "data/sample.npz", **hashes},
            metrics=TrainingMetrics(
                training_loss=0.2,
                training_accuracy=0.99,
                validation_loss=0.4,
                validation_accuracy=0.9,
                best_epoch=2,
                seconds=1.5,
                images_per_second=320.0,
            ),
            device="CPU, 2 cores",
            precision="float32",
            onnx_difference=4e-8,
            versions={"python": "3.11.7", "scikit-learn": "1.9.1"},
            created="2026-11-22T17:20:31+00:00",
        ),
    )
    (root / "history").mkdir()
    (root / "history" / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n"
        "1,1.9,0.4,1.2,0.8,0.002,0.5\n2,0.9,0.8,0.6,0.9,0.001,0.5\n3,0.7,0.85,0.5,0.88,0.0,0.5\n",
        encoding="utf-8",
    )
    return root


@pytest.fixture
def run_folder(linear_run: Path, tmp_path: Path) -> Path:
    """A copy of `linear_run` to change and to write into."""
    return Path(shutil.copytree(linear_run, tmp_path / "run"))


def write_linear_model(path: Path, weights: np.ndarray, bias: np.ndarray, *, softmax: bool = True) -> None:
    """Write softmax(pixels @ weights + bias) as an ONNX model from float32 (n, side, side, 1).

    Args:
        weights: (side * side, classes).
        bias: (classes,).
        softmax: False leaves the last step out, so that the outputs are no probabilities.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    side = round(len(weights) ** 0.5)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", side, side, 1])
    outputs = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(bias)])
    nodes = [
        helper.make_node("Flatten", ["images"], ["pixels"]),
        helper.make_node("Gemm", ["pixels", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax" if softmax else "Identity", ["scores"], ["probabilities"]),
    ]
    values = {"weights": weights, "bias": bias}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "linear", [images], [outputs], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
