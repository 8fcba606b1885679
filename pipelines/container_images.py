"""Which container image belongs to this code: tags for this machine, digests for remote places.

An image is named by what is in it. On this machine that is a tag made from the commit; remote places take digests
only, because KFP's cache key is the image's name: a tag that is built again would silently replay old results.
Needs nothing but Python and git, so that images can be built without the project's environment.
"""

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.mnist.errors import MnistError

TRAINER_GPU_IMAGE = f"{TRAINER_IMAGE}-gpu"
IMAGES = (STEPS_IMAGE, TRAINER_IMAGE, TRAINER_GPU_IMAGE)
LOCK_FILE = "images.lock"

ROOT = Path(__file__).parent.parent
# What `containers/Dockerfile` reads; a change of anything else does not change an image.
INPUTS = (
    ".dockerignore",
    "LICENSE",
    "components",
    "containers/Dockerfile",
    "data/sample.npz",
    "pyproject.toml",
    "requirements.txt",
)
# What decides what a remote run does: the images, and the code that compiles. Profiles may be changed freely.
CODE = (*INPUTS, "pipelines")
BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


class ImageError(MnistError):
    """The image that belongs to this code is not known, or must not be used where it was asked for."""


def tag() -> str:
    """Name what an image of this code holds.

    Returns:
        Twelve digits of `revision`; `<commit>-dirty-<8 digits of what differs>` when a file that goes into the
        images was changed since; `<version>-<8 digits of their content>` outside a git checkout.

    Raises:
        ImageError: This is a git checkout, but git does not answer.
    """
    if not (ROOT / ".git").exists():
        return f"{version()}-{_digest(_files(INPUTS))}"
    commit = revision()[:12]
    changed = _changes(INPUTS)
    return f"{commit}-dirty-{_digest(changed)}" if changed else commit


def revision() -> str:
    """Return the last commit that changed what goes into the images, 40 digits.

    Commits of anything else, as documents or schedules, leave images and what was made with them as they are.

    Raises:
        ImageError: git does not answer.
    """
    return _git("log", "-1", "--format=%H", "--", *INPUTS).strip() or _git("rev-parse", "HEAD").strip()


def version() -> str:
    """Return the project's version, also where it is not installed."""
    if (file := ROOT / "pyproject.toml").is_file():
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
    return importlib.metadata.version("mnist-pipeline")


def local_reference(image: str) -> str:
    """Return the name of an image of `components/__init__.py` on this machine."""
    return f"{image}:{tag()}"


def remote_references(lock_file: Path) -> dict[str, str]:
    """Read which pushed images belong to this commit.

    Args:
        lock_file: Written by `make push`; TOML: `tag`, and a table `images` with a reference by digest for each.

    Returns:
        References by digest, by image; the CUDA trainer is there when it was pushed.

    Raises:
        ImageError: No lock, one of another commit, one that names images by anything but a digest or lacks one, or
            a tree with changes that no commit describes.
    """
    again = "Commit, then build and push the images: make push REGISTRY=host/path"
    if not lock_file.is_file():
        raise ImageError(f"{lock_file}: not there, so no pushed images are known. {again}")
    require_commit()
    try:
        content = tomllib.loads(lock_file.read_text(encoding="utf-8"))
        locked, references = str(content["tag"]), {str(key): str(value) for key, value in content["images"].items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise ImageError(f"{lock_file}: not a lock of images ({error!r}). {again}") from None
    if locked != tag():
        raise ImageError(f"{lock_file}: holds the images of {locked}, but this code is {tag()}. {again}")
    _check_references(references, lock_file, again)
    return references


def write_lock(references: Mapping[str, str], lock_file: Path) -> None:
    """Write which images were pushed, for `remote_references` to read.

    Args:
        references: By digest, by image.
        lock_file: Replaced as a whole.

    Raises:
        ImageError: A reference without a digest, a missing image, or a tree with changes.
    """
    require_commit()
    _check_references(references, lock_file, "Push the images again: make push REGISTRY=host/path")
    lines = [
        "# Written by `make push`: which images belong to this commit, by digest.",
        f'tag = "{tag()}"',
        "",
        "[images]",
        *(f'{image} = "{reference}"' for image, reference in sorted(references.items())),
    ]
    partial = lock_file.with_name(f"{lock_file.name}.partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(lock_file)


def require_commit() -> None:
    """Refuse code that no commit describes: what runs elsewhere must be found again by its name.

    Raises:
        ImageError: A file of the images or of the code that compiles was changed or is new; names some of them.
    """
    if not (ROOT / ".git").exists():
        return
    changed = sorted(map(str, _changes(CODE)))
    if changed:
        names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise ImageError(
            f"The code has changes that are in no commit ({names}). Commit or undo them for a remote place."
        )


def _check_references(references: Mapping[str, str], lock_file: Path, again: str) -> None:
    for image, reference in references.items():
        if not BY_DIGEST.fullmatch(reference):
            raise ImageError(f"{lock_file}: {image} is {reference}, expected a reference by digest (@sha256:). {again}")
    if missing := [image for image in (STEPS_IMAGE, TRAINER_IMAGE) if image not in references]:
        raise ImageError(f"{lock_file}: {' and '.join(missing)} not in it. {again}")


def _changes(paths: Iterable[str]) -> list[Path]:
    """Files under these paths that differ from the commit or are new, relative to the root; ignored ones are not."""
    lines = _git("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *paths).split("\0")
    return sorted(Path(line[3:]) for line in lines if line)


def _files(paths: Iterable[str]) -> list[Path]:
    found = [file for path in paths for file in ((ROOT / path).rglob("*") if (ROOT / path).is_dir() else [ROOT / path])]
    return sorted(file.relative_to(ROOT) for file in found if file.is_file() and "__pycache__" not in file.parts)


def _digest(files: Iterable[Path]) -> str:
    """Eight digits for names and contents of these files; a deleted file counts too."""
    total = hashlib.sha256()
    for file in files:
        path = ROOT / file
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "deleted"
        total.update(f"{file.as_posix()}\0{content}\n".encode())
    return total.hexdigest()[:8]


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except FileNotFoundError:
        raise ImageError("git is missing, and the images are named by commit. Install git.") from None
    except subprocess.SubprocessError as error:
        words = " ".join(str(getattr(error, "stderr", None) or error).split())
        raise ImageError(f"git does not answer in {ROOT}: {words}") from None


def main(arguments: list[str]) -> None:
    """Answer the scripts in `containers`: `tag`, `revision`, `version`, `require-commit`, `lock IMAGE=REFERENCE...`."""
    match arguments:
        case ["tag"]:
            print(tag())
        case ["revision"]:
            print(revision() if (ROOT / ".git").exists() else tag())
        case ["version"]:
            print(version())
        case ["require-commit"]:
            require_commit()
        case ["lock", *pairs]:
            write_lock(dict(pair.split("=", 1) for pair in pairs), ROOT / LOCK_FILE)
        case _:
            sys.exit(main.__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ImageError as problem:
        sys.exit(str(problem))
