"""`mnist schedule ...` within this process, as somebody runs it who pushed the images of this code."""

import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.mnist.errors import MnistError
from pipelines import compilation, container_images
from pipelines.commands import schedule, schedule_actions, schedule_screen
from pipelines.profiles import Profile

DIGEST = "3f" * 32
# By platform and images: compiling takes a quarter of a second, and each apply needs it for each schedule.
COMPILED: dict[tuple[str, ...], tuple[Any, Any]] = {}


class ScheduleCommand:
    """Runs `mnist schedule` in the current folder; gives exit code, lines and errors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, on: str) -> None:
        self._monkeypatch, self._on = monkeypatch, on
        push_images(monkeypatch, DIGEST)
        _compile_once(monkeypatch)

    def __call__(self, *words: str, on: str = "") -> tuple[int, list[str], str]:
        written, complained = io.StringIO(), io.StringIO()
        for module in (schedule_actions, schedule_screen):
            self._monkeypatch.setattr(module, "console", Console(file=written, highlight=False, width=100))
        self._monkeypatch.setattr(schedule_actions, "errors", Console(file=complained, highlight=False, width=100))
        finished = CliRunner().invoke(schedule.app, [*words, "--on", on or self._on])
        if isinstance(finished.exception, MnistError):
            complained.write(str(finished.exception))
        elif finished.exception and not isinstance(finished.exception, SystemExit):
            raise finished.exception
        return finished.exit_code, written.getvalue().splitlines(), complained.getvalue()


def push_images(monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    """Leave what `make push` leaves; a tree with uncommitted changes would not read any of it."""
    pushed = {image: f"registry.example.com/{image}@sha256:{digest}" for image in container_images.IMAGES}
    monkeypatch.setattr(container_images, "remote_references", lambda _lock: pushed)


def _compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    build, compile_documents = compilation.build_pipeline, compilation.compile_documents

    def build_once(profile: Profile) -> Any:
        key = (profile.platform, *compilation.find_images(profile).values())
        if key not in COMPILED:
            pipeline = build(profile)
            COMPILED[key] = pipeline, compile_documents(pipeline)
        return COMPILED[key][0]

    def compiled(pipeline: Any) -> Any:
        return next(documents for other, documents in COMPILED.values() if other is pipeline)

    monkeypatch.setattr(compilation, "build_pipeline", build_once)
    monkeypatch.setattr(compilation, "compile_documents", compiled)
