"""The documents say what is so: commands parse or run, links lead somewhere, the tree is the tree.

The way from nothing to a scheduled run is walked on each played platform, as far as the `mnist` command leads.
`.ci/readme.py` hands the commands of console blocks to CI, which runs them.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from components.mnist.settings import SETTINGS
from pipelines import cli, parameters, single_step
from pipelines.container_images import ROOT
from pipelines.steps import find_step
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.kubeflow.state import SUCCESS
from tests.fakes.project import Project
from tests.fakes.storage_server import StorageServer
from tests.fakes.vertex.server import VertexServer

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "mnist.example.toml").read_text(encoding="utf-8")
DOCUMENTS = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for folder in (".", "containers", "data", "docs")
    for file in sorted((ROOT / folder).glob("*.md"))
}
all_documents = pytest.mark.parametrize("document", DOCUMENTS)


def read_blocks(text: str) -> list[str]:
    """The content of every code block, with continued lines joined."""
    return [block.replace("\\\n", " ") for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def read_spans(text: str) -> list[str]:
    """Code inside of sentences."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command or group that words name, and what follows it."""
    command, rest = typer.main.get_command(cli.app), list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


@all_documents
def test_commands_in_blocks_parse(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Profiles that a page names are those of the example.
    (tmp_path / "mnist.toml").write_bytes((ROOT / "mnist.example.toml").read_bytes())
    monkeypatch.chdir(tmp_path)
    for line in "\n".join(read_blocks(DOCUMENTS[document])).splitlines():
        call = re.fullmatch(r"(?:\S+ )*?\.venv/bin/mnist (.*)", line)
        if not call or call[1].startswith("-"):
            continue
        command, rest = find_command(shlex.split(call[1]))
        try:
            values = command.make_context(command.name, rest).params
        except typer.Exit:  # after --help
            continue
        known = list(SETTINGS)
        if command.name == "step":
            inputs = single_step.read_inputs(find_step(values["name"]).component)
            known = [*inputs.parameters, *inputs.artifacts]
        pairs = parameters.parse_pairs(values.get("pairs") or [], known)
        parameters.check_values({name: value for name, value in pairs.items() if name in SETTINGS})


@all_documents
def test_commands_in_sentences_exist(document: str) -> None:
    for span in read_spans(DOCUMENTS[document]):
        if span.startswith("mnist "):
            command, rest = find_command(span.split()[1:])
            assert not hasattr(command, "commands") or rest[0].startswith("-"), span
            options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            named = {word.strip("[]") for word in rest if word.strip("[]").startswith("-")} - {"-h", "--help"}
            assert named <= options, span


@all_documents
def test_make_targets_exist(document: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    text = DOCUMENTS[document]
    code = [*read_spans(text), *"\n".join(read_blocks(text)).splitlines()]
    assert {found[1] for line in code if (found := re.match(r"(?:\$ )?make ([a-z]+)\b", line))} <= targets


def slugs(text: str) -> set[str]:
    """The anchors that its headings have."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@all_documents
def test_links_lead_somewhere(document: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", DOCUMENTS[document]):
        file = (ROOT / document).parent.joinpath(target) if target else ROOT / document
        assert file.exists(), f"{document}: {target}"
        assert not anchor or anchor in slugs(file.read_text(encoding="utf-8")), f"{document}: {target}#{anchor}"


def read_tree() -> Iterator[Path]:
    """Every file and folder that the tree of the README names."""
    block = next(block for block in read_blocks(README) if "START HERE" in block)
    folders: list[Path] = []
    for line in block.splitlines():
        names = re.split(r" {2,}", line.strip())[0].split()
        depth = (len(line) - len(line.lstrip())) // 2
        if depth > len(folders):  # the sentence of the line before goes on
            continue
        for name in names:
            path = Path(*folders[:depth], name)
            yield path
            if name.endswith("/"):
                folders[depth:] = [Path(name)]


def test_the_tree_names_what_exists_and_every_room() -> None:
    named = set(read_tree())
    assert [str(path) for path in named if not (ROOT / path).exists()] == []
    rooms = {
        init.parent.relative_to(ROOT)
        for top in ("components", "pipelines")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert rooms - named == set()


def read_walk(document: str) -> list[list[str]]:
    """The words of each `mnist` command in the numbered block of a platform's document."""
    block = DOCUMENTS[document].partition("## From nothing to a scheduled run\n")[2].split("```")[1]
    steps = re.findall(r"(?m)^# (?:(\d)\. )?", block)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    return [shlex.split(line)[1:] for line in block.splitlines() if line.startswith(".venv/bin/mnist ")]


def set_keys(text: str, **keys: str) -> str:
    """Fill in the example as the document says, or take a key out of its comment."""
    for key, value in keys.items():
        text, count = re.subn(rf"(?m)^(# )?{key} = .*$", f"{key} = {value}", text, count=1)
        assert count == 1, key
    return text


def walk(project: Project, document: str, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Run every command in turn; return what each printed, by its words."""
    printed = {}
    for words in read_walk(document):
        finished = project.run(*words, folder=folder, environment=environment)
        # The doctor finds what the played platform lacks: the registry, and permissions of the bucket.
        assert finished.returncode == 0 or words[0] == "doctor", finished.stderr
        assert "Traceback" not in finished.stderr
        printed[" ".join(words)] = finished.stdout
    return printed


def test_the_walk_on_kubeflow(project: Project, tmp_path: Path) -> None:
    with KubeflowServer(namespaces=("team-a",), path="/pipeline") as server:
        server.script(SUCCESS)
        text = set_keys(EXAMPLE, host=f'"{server.host}"', sign_in='{ method = "none" }')
        (tmp_path / "mnist.toml").write_text(text, encoding="utf-8")
        printed = walk(project, "docs/kubeflow.md", tmp_path, {"NO_PROXY": "*"})
        [run] = server.runs.values()
        [recurring] = server.recurring_runs.values()
    assert run["runtime_config"]["parameters"]["source"] == "sample"
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert "nightly" in printed["schedule list --on cluster"]
    assert "ok           namespace" in printed["doctor --on cluster"]


def test_the_walk_on_vertex_ai(project: Project, storage_server: StorageServer, tmp_path: Path) -> None:
    (tmp_path / "google").mkdir()
    with VertexServer(tmp_path / "google") as server:
        text = set_keys(EXAMPLE, endpoint=f'"{server.endpoint}"')
        (tmp_path / "mnist.toml").write_text(text, encoding="utf-8")
        printed = walk(project, "docs/vertex.md", tmp_path, server.environment)
        [job] = server.jobs.values()
        [schedule] = server.schedules.values()
    assert job.runtime_config.parameter_values["source"] == "sample"
    assert schedule.cron == "TZ=Europe/Berlin 30 5 * * 1"
    assert "weekly" in printed["schedule list --on vertex"]
