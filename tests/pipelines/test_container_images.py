"""Names of images: what belongs to this code, here by tag and on platforms by digest."""

import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from docker.utils.build import exclude_paths
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
# As desktops, editors and Python leave them.
JUNK = (
    ".DS_Store",
    "._step.py",
    "Thumbs.db",
    "desktop.ini",
    "Desktop.ini",
    ".directory",
    ".step.py.swp",
    "step.py~",
    "#step.py#",
    "step.py.orig",
    "step.py.rej",
    "step.pyc",
    "__pycache__/step.cpython-311.pyc",
    ".ipynb_checkpoints/notes.ipynb",
    ".idea/workspace.xml",
)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=Tester", "-c", "user.email=tester@example.com", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small git checkout of two commits that the names are taken from, instead of this project."""
    folder = tmp_path / "checkout"
    for name, content in {
        "components/step.py": b"answer = 42\n",
        "data/sample.npz": b"PK\0 not a line:\r\n",
        "pyproject.toml": b'[project]\nversion = "1.2.3"\n',
        "README.md": b"read me\n",
        ".gitignore": b"images.lock\n__pycache__/\n*.log\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    (folder / "README.md").write_text("read me again\n")
    git(folder, "commit", "--quiet", "--all", "--message", "second")
    monkeypatch.setattr(container_images, "ROOT", folder)
    return folder


@pytest.fixture
def lock(checkout: Path) -> Path:
    container_images.write_lock(DIGESTS, checkout / "images.lock")
    return checkout / "images.lock"


def read_context(folder: Path) -> dict[str, bytes]:
    container_images.write_context(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the name of the code ------------------------------------------------------------------------------------------


def clone(origin: Path, folder: Path) -> None:
    git(origin, "clone", "--quiet", str(origin), str(folder))


def clone_shallow(origin: Path, folder: Path) -> None:
    git(origin, "clone", "--quiet", "--depth", "1", f"file://{origin}", str(folder))
    assert git(folder, "rev-list", "--count", "HEAD") == "1"


def clone_with_crlf(origin: Path, folder: Path) -> None:
    git(origin, "clone", "--quiet", "--config", "core.autocrlf=true", str(origin), str(folder))
    assert (folder / "components" / "step.py").read_bytes() == b"answer = 42\r\n"


def add_worktree(origin: Path, folder: Path) -> None:
    git(origin, "worktree", "add", "--quiet", "--detach", str(folder))


def unzip(origin: Path, folder: Path) -> None:
    git(origin, "archive", "--format", "zip", "--output", str(origin.parent / "code.zip"), "HEAD")
    with zipfile.ZipFile(origin.parent / "code.zip") as archive:
        archive.extractall(folder)


def unzip_in_a_foreign_repository(origin: Path, folder: Path) -> None:
    git(origin.parent, "init", "--quiet", str(folder.parent))
    unzip(origin, folder)
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "--message", "somebody else's")


def unzip_beside_the_rest_of_a_repository(origin: Path, folder: Path) -> None:
    unzip_in_a_foreign_repository(origin, folder)
    (folder / ".git").mkdir()


@pytest.mark.parametrize(
    ("arrive", "has_commit"),
    [
        (clone, True),
        (clone_shallow, True),
        (clone_with_crlf, True),
        (add_worktree, True),
        (unzip, False),
        (unzip_in_a_foreign_repository, False),
        (unzip_beside_the_rest_of_a_repository, False),
    ],
)
def test_equal_code_has_one_name_however_it_arrived(
    arrive: Callable[[Path, Path], None],
    has_commit: bool,
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, context = container_images.tag(), read_context(tmp_path / "context")
    folder = tmp_path / "elsewhere" / "code"
    folder.parent.mkdir()
    arrive(checkout, folder)
    monkeypatch.setattr(container_images, "ROOT", folder)
    assert container_images.tag() == name
    assert read_context(tmp_path / "other context") == context
    assert container_images.commit() == (git(checkout, "rev-parse", "HEAD") if has_commit else "")
    (folder / "data" / "sample.npz").write_bytes(b"PK\0 not a line:\n")
    assert container_images.tag() != name
    assert container_images.commit().endswith("-dirty") == has_commit


def test_a_name_fits_every_registry_and_label(checkout: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", container_images.tag())
    assert container_images.local_reference(STEPS_IMAGE) == f"mnist-python-steps:{container_images.tag()}"


def test_any_change_of_what_goes_into_images_changes_the_name_until_it_is_undone(checkout: Path) -> None:
    names = [container_images.tag()]
    code = checkout / "components" / "step.py"
    original = code.read_bytes()
    for content in (b"answer = 43\n", b"answer = 44\n", b"answer = 42\n\n", b""):
        code.write_bytes(content)
        names.append(container_images.tag())
    code.rename(code.with_name("other.py"))
    names.append(container_images.tag())
    code.with_name("other.py").unlink()
    names.append(container_images.tag())
    code.write_bytes(original)
    for new in ("größer \n.py", "ignored by git.log"):
        (code.parent / new).write_text("new")
        names.append(container_images.tag())
    assert len(set(names)) == len(names)
    for new in ("größer \n.py", "ignored by git.log"):
        (code.parent / new).unlink()
    assert container_images.tag() == names[0]


def test_nothing_else_changes_the_name(checkout: Path) -> None:
    name = container_images.tag()
    (checkout / "README.md").write_text("something else\n")
    (checkout / "notes.txt").write_text("in no image")
    (checkout / "components" / "empty").mkdir()
    (checkout / "components" / "step.py").chmod(0o700)
    (checkout / "components" / "nowhere.py").symlink_to("nothing.py")
    assert container_images.tag() == name


@pytest.mark.parametrize("junk", JUNK)
def test_junk_neither_counts_nor_enters_an_image_nor_needs_a_commit(checkout: Path, tmp_path: Path, junk: str) -> None:
    name, commit = container_images.tag(), container_images.commit()
    for folder in ("components", "components/deeper", "containers/certificates", "pipelines"):
        (checkout / folder / junk).parent.mkdir(parents=True, exist_ok=True)
        (checkout / folder / junk).write_text("junk")
    assert container_images.tag() == name
    assert container_images.commit() == commit
    assert Path(junk).name not in {Path(file).name for file in read_context(tmp_path / "context")}
    container_images.require_commit()


def test_docker_alone_reads_the_same_files(tmp_path: Path) -> None:
    clean = set(read_context(tmp_path))
    others = ["README.md", "data/mnist.npz", "runs/run.json"]
    others += [
        f"{folder}/{junk}" for folder in (".", "components/mnist/data", "containers/certificates") for junk in JUNK
    ]
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if not line.startswith("#")]
    read = exclude_paths(str(tmp_path), patterns, dockerfile="containers/Dockerfile")
    assert {name for name in read if (tmp_path / name).is_file()} == clean
    assert [line.removeprefix("**/") for line in patterns if line.startswith("**/")] == list(container_images.JUNK)


def test_the_name_covers_what_the_dockerfile_copies() -> None:
    dockerfile = (ROOT / "containers" / "Dockerfile").read_text()
    copied = {
        word.rstrip("/") for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M) for word in line.split()
    }
    assert copied - {container_images.CERTIFICATES} == set(container_images.INPUTS) - {"containers/Dockerfile"}
    for path in container_images.INPUTS:
        assert (ROOT / path).exists(), path


def test_certificates_go_into_images_but_not_into_their_name(checkout: Path, tmp_path: Path) -> None:
    name = container_images.tag()
    (checkout / "containers" / "certificates").mkdir(parents=True)
    (checkout / "containers" / "certificates" / "company.pem").write_bytes(b"one\r\ntwo\r\n")
    assert container_images.tag() == name
    assert read_context(tmp_path / "context")["containers/certificates/company.pem"] == b"one\ntwo\n"


def test_a_file_that_cannot_be_read_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ImageError, match=r"step\.py: goes into images, but cannot be read \(Permission denied\)"):
        container_images.tag()


# --- its commit ----------------------------------------------------------------------------------------------------


def test_a_hook_of_another_repository_changes_nothing(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = container_images.commit()
    git(tmp_path, "init", "--quiet", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    assert container_images.commit() == commit
    container_images.require_commit()


def test_a_checkout_that_git_cannot_read_is_refused_with_gits_words(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense")
    assert container_images.commit() == ""
    with pytest.raises(ImageError, match=r"git cannot read .*: fatal: not a git repository"):
        container_images.require_commit()


def test_without_git_a_name_is_found_but_a_checkout_is_not_checked(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = container_images.tag()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (container_images.tag(), container_images.commit()) == (name, "")
    with pytest.raises(ImageError, match="git is missing"):
        container_images.require_commit()


# --- what was pushed -----------------------------------------------------------------------------------------------


def test_a_lock_gives_back_what_was_pushed(checkout: Path, lock: Path) -> None:
    assert container_images.remote_references(lock) == DIGESTS
    assert f'commit = "{git(checkout, "rev-parse", "HEAD")}"' in lock.read_text()


def test_without_git_what_was_pushed_is_known_too(checkout: Path) -> None:
    (checkout / ".git").rename(checkout.parent / "elsewhere")
    (checkout / "components" / "step.py").write_text("answer = 43\n")
    container_images.write_lock(DIGESTS, checkout / "images.lock")
    assert container_images.remote_references(checkout / "images.lock") == DIGESTS


def test_the_lock_of_other_code_is_refused(checkout: Path, lock: Path) -> None:
    old = container_images.tag()
    (checkout / "components" / "step.py").write_text("answer = 43\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "third")
    with pytest.raises(
        ImageError,
        match=rf"images of {old}, but this code is {container_images.tag()}\..* make push REGISTRY=host/path$",
    ):
        container_images.remote_references(lock)


def test_profiles_and_documents_leave_images_and_their_lock_as_they_are(checkout: Path, lock: Path) -> None:
    (checkout / "mnist.toml").write_text("[cluster]\n")
    (checkout / "README.md").write_text("read me once more\n")
    assert container_images.remote_references(lock) == DIGESTS  # before the commit, too
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "schedules")
    assert container_images.remote_references(lock) == DIGESTS


@pytest.mark.parametrize("file", ["components/step.py", "components/new.py", "components/new.log", "pipelines/new.py"])
def test_uncommitted_changes_are_refused_for_a_platform(checkout: Path, lock: Path, file: str) -> None:
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text("changed\n")
    assert container_images.commit() == f"{git(checkout, 'rev-parse', 'HEAD')}-dirty"
    for attempt in (
        lambda: container_images.remote_references(lock),
        lambda: container_images.write_lock(DIGESTS, lock),
    ):
        with pytest.raises(ImageError, match=rf"uncommitted changes \({file}\)\. Commit or undo them"):
            attempt()


def test_without_a_lock_nothing_is_compiled_for_a_platform(checkout: Path) -> None:
    with pytest.raises(ImageError, match=r"images\.lock: no such file.*make push REGISTRY=host/path$"):
        container_images.remote_references(checkout / "images.lock")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (f"@sha256:{'1a' * 32}", ":latest", "mnist-python-steps is registry.example/.*:latest, expected .* by digest"),
        (f"@sha256:{'1a' * 32}", "@sha256:1a1a", "expected a reference by digest"),
        ('"registry.example', '"https://registry.example', "expected a reference by digest"),
        ("mnist-python-trainer =", "other =", "lacks mnist-python-trainer"),
        ("[images]", "[images", "not a lock of images"),
        ("[images]", "[pictures]", "not a lock of images"),
        ("[images]", "images = 3\n[pictures]", "not a lock of images"),
        ('tag = "', 'tag = "f00d', "images of f00d.*, but this code is"),
    ],
)
def test_a_lock_that_names_anything_but_digests_of_this_code_is_refused(
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


def test_a_file_compiled_for_a_platform_holds_no_mutable_tag(lock: Path, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(
        training.build(training.Placement(images=container_images.remote_references(lock))), str(file)
    )
    executors = yaml.safe_load(file.read_text())["deploymentSpec"]["executors"].values()
    used = [executor["container"]["image"] for executor in executors]
    assert len(used) == len(STEPS)
    assert set(used) == set(DIGESTS.values())
    assert all(container_images.BY_DIGEST.fullmatch(image) for image in used)


def test_every_image_is_built_and_pushed() -> None:
    for script in ("build.sh", "push.sh"):
        text = (ROOT / "containers" / script).read_text()
        assert all(re.search(rf"\b{image}(?![\w-])", text) for image in container_images.IMAGES), script
