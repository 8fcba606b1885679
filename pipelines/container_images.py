"""Find the container images of this code: by tag on this machine, by digest on platforms.

The content names the code. `tag()` is a hash of the files that images are built from, and the build reads exactly the
bytes that were hashed (`write_context`). So clones of any depth, zip downloads, worktrees and CRLF checkouts of the
same code agree, and no git is needed. Image tags, the label `org.opencontainers.image.revision`, images.lock, run.json
and `mnist doctor` all show this name. On platforms, images are named by digest, because KFP's cache key is the image's
name: a tag that is built again would silently replay old results.

The commit is for people: `commit()` identifies the code in git, and code with uncommitted changes is neither pushed nor
compiled for a platform. Only the project's own repository is read, never one that surrounds it.

Needs only Python's standard library, so that images can be built without the project's environment.
"""

import fnmatch
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePath

from components import STEPS_IMAGE, TRAINER_IMAGE
from components.mnist.errors import MnistError
from components.mnist.files import write_text

TRAINER_GPU_IMAGE = f"{TRAINER_IMAGE}-gpu"
IMAGES = (STEPS_IMAGE, TRAINER_IMAGE, TRAINER_GPU_IMAGE)
LOCK_FILE = "images.lock"

ROOT = Path(__file__).parent.parent
# The files that `containers/Dockerfile` reads; changes of other files do not change an image.
INPUTS = ("LICENSE", "components", "containers/Dockerfile", "data/sample.npz", "pyproject.toml", "requirements.txt")
# Trusted certificates go into images as well, but belong to a network, not to the code.
CERTIFICATES = "containers/certificates"
# Junk files of desktops, editors and Python, and all hidden files. `.dockerignore` has the same list.
JUNK = (
    ".*",
    "*~",
    "#*#",
    "*.bak",
    "*.orig",
    "*.pyc",
    "*.rej",
    "*.sw[nop]",
    "$RECYCLE.BIN",
    "4913",
    "[Dd]esktop.ini",
    "[Tt]humbs.db",
    "__pycache__",
    "ehthumbs.db",
    "~$*",
)
# The files that determine a run on a platform: the images' and the compiler's. Profiles may be changed freely.
CODE = (*INPUTS, "pipelines")
BY_DIGEST = re.compile(r"(?!\w+://)[^\s@]+@sha256:[0-9a-f]{64}")
# In a git hook, these name the hook's repository, which may be another one.
GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


class ImageError(MnistError):
    """The images of this code are unknown, or must not be used."""


def tag() -> str:
    """Return the name of this code: twelve hexadecimal digits of a hash of what goes into its images.

    Raises:
        ImageError: A file cannot be read.
    """
    return _hash(_read_files(*INPUTS))


def code() -> str:
    """Return `tag`, or an empty string if the project was installed as a package, without its other files."""
    return tag() if all((ROOT / name).exists() for name in INPUTS) else ""


def write_context(folder: Path) -> str:
    """Write the build context to an empty folder: the files that `tag` hashes, and certificates.

    Returns:
        The tag of the files.

    Raises:
        ImageError: A file cannot be read.
    """
    contents = _read_files(*INPUTS)
    for name, content in (contents | _read_files(CERTIFICATES)).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return _hash(contents)


def local_reference(image: str) -> str:
    """Return the name of an image of `components/__init__.py` on this machine."""
    return f"{image}:{tag()}"


def remote_references(lock_file: Path) -> dict[str, str]:
    """Read the references of this code's pushed images.

    Args:
        lock_file: Written by `make push`; TOML: `tag`, and a table `images` with a reference by digest for each.

    Returns:
        References by digest, by image; with the CUDA trainer if it was pushed.

    Raises:
        ImageError: The lock is missing, belongs to other code, lacks an image or names one by anything but a digest;
            or the code has uncommitted changes.
    """
    again = "Commit, then build and push the images: make push REGISTRY=host/path"
    if not lock_file.is_file():
        raise ImageError(f"{lock_file}: no such file, so no pushed images are known. {again}")
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
    """Write the references of the pushed images, for `remote_references`.

    Args:
        references: By digest, by image.
        lock_file: Replaced as a whole.

    Raises:
        ImageError: A reference has no digest, an image is missing, or the code has uncommitted changes.
    """
    require_commit()
    _check_references(references, lock_file, "Push the images again: make push REGISTRY=host/path")
    lines = [
        "# Written by `make push`: which images belong to this code, by digest. The commit is for people.",
        f'tag = "{tag()}"',
        f'commit = "{commit()}"',
        "",
        "[images]",
        *(f'{image} = "{reference}"' for image, reference in sorted(references.items())),
    ]
    write_text(lock_file, "\n".join(lines) + "\n")


def commit() -> str:
    """Return the commit of this code, for people.

    Returns:
        40 digits, with the suffix `-dirty` if the code has uncommitted changes; empty if the project is not a git
        checkout, or git cannot read it.
    """
    try:
        return _git("rev-parse", "HEAD").strip() + ("-dirty" if _find_changes() else "")
    except ImageError:
        return ""


def require_commit() -> None:
    """Refuse uncommitted changes, so that a platform run's code can be found again. Without git, refuse nothing.

    Raises:
        ImageError: A file of the images or of the compiler was changed or is new; the message names some. Or git cannot
            read this checkout.
    """
    if not (ROOT / ".git").exists():
        return
    if changed := _find_changes():
        names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise ImageError(f"The code has uncommitted changes ({names}). Commit or undo them to use a platform.")


def _read_files(*names: str) -> dict[str, bytes]:
    """Return contents by path below the root, always in the same order; text has LF line endings."""
    contents = {}
    try:
        paths = [path for name in names for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
        for name, path in sorted((path.relative_to(ROOT).as_posix(), path) for path in paths):
            if not _is_junk(name):
                content = path.read_bytes()
                # Like git: a file with a NUL byte is not text.
                contents[name] = content if b"\0" in content else content.replace(b"\r\n", b"\n")
    except OSError as error:
        raise ImageError(f"{error.filename}: goes into images, but cannot be read ({error.strerror}).") from None
    return contents


def _hash(contents: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in contents.items():
        total.update(os.fsencode(name) + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()[:12]


def _is_junk(name: str) -> bool:
    return any(fnmatch.fnmatchcase(part, pattern) for part in PurePath(name).parts for pattern in JUNK)


def _find_changes() -> list[str]:
    """List the files with uncommitted changes; also those that git ignores, since they go into images."""
    words = ("--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignored")
    lines = _git("status", *words, "--", *CODE).split("\0")
    return sorted(line[3:] for line in lines if line and not _is_junk(line[3:]))


def _git(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    # Git looks for a repository in the root only, not in its parents.
    environment["GIT_CEILING_DIRECTORIES"] = str(ROOT.resolve().parent)
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, env=environment, errors="surrogateescape"
        ).stdout
    except FileNotFoundError:
        raise ImageError("This is a git checkout, but git is missing. Install it.") from None
    except subprocess.SubprocessError as error:
        words = " ".join(str(getattr(error, "stderr", None) or error).split())
        raise ImageError(f"git cannot read {ROOT}: {words}") from None


def _check_references(references: Mapping[str, str], lock_file: Path, again: str) -> None:
    for image, reference in references.items():
        if not BY_DIGEST.fullmatch(reference):
            raise ImageError(f"{lock_file}: {image} is {reference}, expected a reference by digest (@sha256:). {again}")
    if missing := [image for image in (STEPS_IMAGE, TRAINER_IMAGE) if image not in references]:
        raise ImageError(f"{lock_file}: lacks {' and '.join(missing)}. {again}")


def main(arguments: list[str]) -> None:
    """Serve the scripts in `containers`: `tag`, `context FOLDER`, `require-commit`, `lock IMAGE=REFERENCE...`."""
    match arguments:
        case ["tag"]:
            print(tag())
        case ["context", folder]:
            print(write_context(Path(folder)))
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
