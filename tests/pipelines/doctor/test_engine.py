"""What runs in containers need: an engine, images of this code, a GPU, room; against a played engine and a real one.

The played one speaks the Docker Engine's API over HTTP, as far as it is asked by looking.
"""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.mnist.errors import MnistError
from pipelines import container_images
from pipelines.checks import Finding, Verdict, perform
from pipelines.doctor import engine
from pipelines.runners.docker import REVISION
from pipelines.runners.engine import LABEL, Engine, open_engine


class PlayedEngine:
    """A Docker Engine with images, and containers that end at once.

    Attributes:
        labels: Of each image, by its name with tag.
        info: What it says of itself.
        exit_code: Of every container.
        refusal: Why it starts none, in its words.
        containers: Those that are there now.
    """

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, str]] = {}
        self.info: dict[str, Any] = {"DockerRootDir": "/var/lib/docker", "Runtimes": {"runc": {}}}
        self.exit_code = 0
        self.refusal = ""
        self.containers: list[str] = []
        self.started = 0
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                played.answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        parts = urlsplit(handler.path)
        path = re.sub(r"^/v[0-9.]+", "", parts.path)
        filters = json.loads(parse_qs(parts.query).get("filters", ["{}"])[0])
        status, content = self._answer(handler.command, path, filters)
        body = json.dumps(content).encode() if content is not None else b""
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _answer(self, method: str, path: str, filters: dict[str, Any]) -> tuple[int, Any]:
        if (method, path) == ("GET", "/version"):
            return 200, {"Version": "28.2.2", "ApiVersion": "1.50", "Components": [{"Name": "Engine"}]}
        if (method, path) == ("GET", "/info"):
            return 200, self.info
        if (method, path) == ("GET", "/images/json"):
            wanted = filters.get("reference", [""])
            return 200, [{"Id": name, "RepoTags": [name]} for name in self.labels if name.startswith(tuple(wanted))]
        if method == "GET" and (found := re.fullmatch(r"/images/(.+)/json", path)):
            if found[1] not in self.labels:
                return 404, {"message": f"No such image: {found[1]}"}
            return 200, {"Id": found[1], "RepoTags": [found[1]], "Config": {"Labels": self.labels[found[1]]}}
        return self._answer_container(method, path)

    def _answer_container(self, method: str, path: str) -> tuple[int, Any]:
        if (method, path) == ("POST", "/containers/create"):
            self.containers.append(f"c{len(self.containers)}")
            return 201, {"Id": self.containers[-1], "Warnings": []}
        found = re.fullmatch(r"/containers/(c\d+)(/\w+)?", path)
        if not found or found[1] not in self.containers:
            return 404, {"message": "No such container"}
        match method, found[2]:
            case "POST", "/attach":
                return 200, None
            case "POST", "/start":
                self.started += 1
                return (500, {"message": self.refusal}) if self.refusal else (204, None)
            case "POST", "/wait":
                return 200, {"StatusCode": self.exit_code}
            case "GET", "/json":
                return 200, {"Id": found[1], "State": {"OOMKilled": False}, "Config": {"Tty": False}}
            case "DELETE", None:
                self.containers.remove(found[1])
                return 204, None
        return 404, {"message": "page not found"}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedEngine]:
    """An engine with the images of this code, and no GPU."""
    played = PlayedEngine()
    played.labels = {container_images.local_reference(name): label() for name in (STEPS_IMAGE, TRAINER_IMAGE)}
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{played.server.server_port}")
    yield played
    played.server.shutdown()
    played.server.server_close()
    assert played.containers == []


def label(revision: str = "") -> dict[str, str]:
    return {REVISION: revision or container_images.tag()}


def look() -> dict[str, Finding]:
    passed: dict[str, bool] = {}
    return {check.name: perform(check, passed) for check in engine.for_containers()}


def test_an_engine_with_the_images_of_this_code_is_fine(played: PlayedEngine) -> None:
    found = look()
    assert found["engine"].text == f"Docker Engine 28.2.2, API 1.50, at tcp://127.0.0.1:{played.server.server_port}"
    assert found["images"].verdict is found["GPU in containers"].verdict is Verdict.OK
    assert container_images.tag() in found["images"].text
    assert played.started == 0  # without a hint at a GPU nothing is started to look for one


def test_missing_images_are_to_be_built_and_nothing_is_started_without_them(played: PlayedEngine) -> None:
    del played.labels[container_images.local_reference(TRAINER_IMAGE)]
    found = look()
    assert found["images"].verdict is Verdict.FAILING
    assert "no such image, and none is ever pulled. Build it: make images" in found["images"].text
    assert found["GPU in containers"].verdict is Verdict.SKIPPED


def test_images_of_other_code_are_to_be_built_again(played: PlayedEngine) -> None:
    played.labels[container_images.local_reference(STEPS_IMAGE)] = label("1" * 12)
    assert "built from the code 111111111111, but this code is" in look()["images"].text


def give_gpu(played: PlayedEngine) -> None:
    played.info["Runtimes"] = {"runc": {}, "nvidia": {}}


def test_a_gpu_needs_the_trainer_with_cuda(played: PlayedEngine) -> None:
    give_gpu(played)
    found = look()["GPU in containers"]
    assert found.verdict is Verdict.WARNING
    assert "make images GPU=1" in found.text
    assert played.started == 1
    played.labels[container_images.local_reference(container_images.TRAINER_GPU_IMAGE)] = label()
    assert look()["GPU in containers"].verdict is Verdict.OK


def test_an_engine_that_gives_no_gpu_says_why(played: PlayedEngine) -> None:
    give_gpu(played)
    played.refusal = 'could not select device driver "" with capabilities: [[gpu]]'
    found = look()["GPU in containers"]
    assert found.verdict is Verdict.WARNING
    assert "could not select device driver" in found.text
    assert "NVIDIA Container Toolkit" in found.text


def test_a_disk_that_is_not_this_machines_is_not_claimed_to_be_known(played: PlayedEngine) -> None:
    found = look()["engine's disk"]
    assert found.verdict is Verdict.SKIPPED
    assert "docker system df" in found.text


def test_a_disk_too_small_for_the_images_is_failing_until_they_are_there(
    played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Engine, "is_local", property(lambda _: True, lambda _, __: None), raising=False)
    monkeypatch.setattr(engine, "IMAGES_BYTES", shutil.disk_usage(tmp_path).total)
    played.info["DockerRootDir"] = str(tmp_path)
    assert look()["engine's disk"].verdict is Verdict.OK
    played.labels.clear()
    found = look()["engine's disk"]
    assert found.verdict is Verdict.FAILING
    assert "docker system prune" in found.text


@pytest.mark.docker
def test_a_real_engine_is_left_as_it_was() -> None:
    def list_all() -> list[str]:
        with open_engine() as opened:
            return sorted(each.id for each in opened.client.containers.list(all=True, filters={"label": LABEL}))

    before = list_all()
    found = look()
    assert found["engine"].verdict is Verdict.OK
    assert found["images"].verdict is Verdict.OK
    assert found["GPU in containers"].verdict in (Verdict.OK, Verdict.WARNING)
    assert list_all() == before


def test_no_engine_is_failing_and_hides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    found = look()
    assert [each.verdict for each in found.values()] == [Verdict.FAILING, *[Verdict.SKIPPED] * 3]
    with pytest.raises(MnistError, match=re.escape(str(tmp_path))):
        engine.check_engine()
