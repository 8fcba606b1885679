"""Names of images: what belongs to this code, here by tag and elsewhere by digest."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from components import STEPS_IMAGE, TRAINER_IMAGE
from pipelines import container_images, training
from pipelines.container_images import ImageError
from pipelines.steps import STEPS

ROOT = Path(__file__).parents[2]
DIGESTS = {
    STEPS_IMAGE: f"registry.example/team/{STEPS_IMAGE}@sha256:{'1a' * 32}",
    TRAINER_IMAGE: f"registry.example/team/{TRAINER_IMAGE}@sha256:{'2b' * 32}",
}


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=Tester", "-c", "user.email=tester@example.com", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small git checkout that takes the place of this one."""
    folder = tmp_path / "checkout"
    (folder / "components").mkdir(parents=True)
    (folder / "components" / "step.py").write_text("answer = 42\n")
    (folder / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (folder / "README.md").write_text("read me\n")
    (folder / ".gitignore").write_text("images.lock\n__pycache__/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(container_images, "ROOT", folder)
    return folder


@pytest.fixture
def lock(checkout: Path) -> Path:
    container_images.write_lock(DIGESTS, checkout / "images.lock")
    return checkout / "images.lock"


def test_an_image_is_named_by_the_commit(checkout: Path) -> None:
    assert container_images.tag() == git(checkout, "rev-parse", "HEAD")[:12]
    assert container_images.local_reference(STEPS_IMAGE) == f"mnist-python-steps:{container_images.tag()}"
    assert re.fullmatch(r"[\w.-]{1,128}", container_images.tag())


def test_changed_code_has_a_name_of_its_own_until_the_change_is_undone(checkout: Path) -> None:
    clean = container_images.tag()
    code = checkout / "components" / "step.py"
    original = code.read_text()
    names = {clean}
    for content in ("answer = 43\n", "answer = 44\n"):
        code.write_text(content)
        assert re.fullmatch(rf"{clean}-dirty-[0-9a-f]{{8}}", container_images.tag())
        names.add(container_images.tag())
    code.unlink()
    names.add(container_images.tag())
    assert len(names) == 4
    code.write_text(original)
    assert container_images.tag() == clean


def test_a_new_file_counts_where_it_would_go_into_an_image(checkout: Path) -> None:
    clean = container_images.tag()
    (checkout / "notes.txt").write_text("not in any image")
    (checkout / "components" / "__pycache__").mkdir()
    (checkout / "components" / "__pycache__" / "step.pyc").write_text("ignored by git")
    assert container_images.tag() == clean
    (checkout / "components" / "größer \n.py").write_text("a name that git would quote")
    assert "-dirty-" in container_images.tag()


def test_what_goes_into_no_image_does_not_change_its_name(checkout: Path) -> None:
    clean = container_images.tag()
    (checkout / "README.md").write_text("read me again\n")
    assert container_images.tag() == clean


def test_outside_git_an_image_is_named_by_version_and_content(checkout: Path) -> None:
    (checkout / ".git").rename(checkout.parent / "elsewhere")
    first = container_images.tag()
    assert re.fullmatch(r"1\.2\.3-[0-9a-f]{8}", first)
    (checkout / "components" / "step.py").write_text("answer = 43\n")
    assert container_images.tag() != first


def test_a_checkout_that_git_does_not_read_is_refused_with_gits_words(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(ImageError, match=r"git does not answer in .*: fatal: not a git repository"):
        container_images.tag()


def test_a_lock_gives_back_what_was_pushed(lock: Path) -> None:
    assert container_images.remote_references(lock) == DIGESTS


def test_a_commit_further_on_the_old_lock_is_refused(checkout: Path, lock: Path) -> None:
    old = container_images.tag()
    (checkout / "components" / "step.py").write_text("answer = 43\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "second")
    assert container_images.tag() != old
    with pytest.raises(
        ImageError,
        match=rf"images of {old}, but this code is {container_images.tag()}\..* make push REGISTRY=host/path$",
    ):
        container_images.remote_references(lock)


def test_a_commit_of_profiles_or_documents_leaves_images_and_their_lock_as_they_are(checkout: Path, lock: Path) -> None:
    (checkout / "mnist.toml").write_text("[cluster]\n")
    (checkout / "README.md").write_text("read me again\n")
    assert container_images.remote_references(lock) == DIGESTS  # before the commit, too
    before = container_images.tag(), container_images.revision()
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "schedules")
    assert (container_images.tag(), container_images.revision()) == before
    assert container_images.remote_references(lock) == DIGESTS
    (checkout / "mnist.toml").write_text("[vertex]\n")
    assert container_images.remote_references(lock) == DIGESTS


@pytest.mark.parametrize("file", ["components/step.py", "components/new.py", "pipelines/new.py"])
def test_changes_that_are_in_no_commit_are_refused_for_a_remote_place(checkout: Path, lock: Path, file: str) -> None:
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text("changed\n")
    for attempt in (
        lambda: container_images.remote_references(lock),
        lambda: container_images.write_lock(DIGESTS, lock),
    ):
        with pytest.raises(ImageError, match=rf"in no commit \({file}\)\. Commit or undo them"):
            attempt()


def test_without_a_lock_nothing_is_compiled_for_a_remote_place(checkout: Path) -> None:
    with pytest.raises(ImageError, match=r"images\.lock: not there.*make push REGISTRY=host/path$"):
        container_images.remote_references(checkout / "images.lock")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (f"@sha256:{'1a' * 32}", ":latest", "mnist-python-steps is registry.example/.*:latest, expected .* by digest"),
        (f"@sha256:{'1a' * 32}", "@sha256:1a1a", "expected a reference by digest"),
        ("mnist-python-trainer =", "other =", "mnist-python-trainer not in it"),
        ("[images]", "[images", "not a lock of images"),
        ("[images]", "[pictures]", "not a lock of images"),
        ("[images]", "images = 3\n[pictures]", "not a lock of images"),
        ('tag = "', 'tag = "f00d', "images of f00d.*, but this code is"),
    ],
)
def test_a_lock_that_names_anything_but_this_commits_digests_is_refused(
    lock: Path, before: str, after: str, message: str
) -> None:
    text = lock.read_text()
    assert before in text
    lock.write_text(text.replace(before, after))
    with pytest.raises(ImageError, match=rf"images\.lock: .*{message}.*make push REGISTRY=host/path$"):
        container_images.remote_references(lock)


def test_a_lock_with_a_mutable_tag_is_not_even_written(checkout: Path) -> None:
    with pytest.raises(ImageError, match="expected a reference by digest"):
        container_images.write_lock(
            {**DIGESTS, TRAINER_IMAGE: "registry.example/trainer:1.0"}, checkout / "images.lock"
        )
    assert not (checkout / "images.lock").exists()


def test_a_file_compiled_for_a_remote_place_holds_no_mutable_tag(lock: Path, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(
        training.build(training.Placement(images=container_images.remote_references(lock))), str(file)
    )
    executors = yaml.safe_load(file.read_text())["deploymentSpec"]["executors"].values()
    used = [executor["container"]["image"] for executor in executors]
    assert len(used) == len(STEPS)
    assert set(used) == set(DIGESTS.values())
    assert all(container_images.BY_DIGEST.fullmatch(image) for image in used)


def test_the_names_inputs_are_what_the_dockerfile_reads() -> None:
    dockerfile = (ROOT / "containers" / "Dockerfile").read_text()
    copied = {
        word.rstrip("/") for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M) for word in line.split()
    }
    # Certificates belong to a network, not to the code.
    assert copied - {"containers/certificates"} == set(container_images.INPUTS) - {
        ".dockerignore",
        "containers/Dockerfile",
    }
    allowed = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M))
    assert copied == allowed
    for path in container_images.INPUTS:
        assert (ROOT / path).exists(), path


def test_every_image_is_built_and_pushed() -> None:
    for script in ("build.sh", "push.sh"):
        text = (ROOT / "containers" / script).read_text()
        assert all(re.search(rf"\b{image}(?![\w-])", text) for image in container_images.IMAGES), script
