"""Recognise and open a local file or folder in any of the supported formats."""

from pathlib import Path

from components.mnist.data.arrays import StoredArray
from components.mnist.data.class_folders import SPLIT_NAMES, natural, open_class_folders, subfolders
from components.mnist.data.contents import Contents, Part
from components.mnist.data.idx import IDX_NAME, find_four, open_idx
from components.mnist.data.labels import read_labels
from components.mnist.data.npz import list_arrays, open_array
from components.mnist.data.pictures import SUFFIXES
from components.mnist.data.pixels import open_images
from components.mnist.data.signatures import recognise
from components.mnist.errors import DataError

# Supported contents of a folder, for messages.
USABLE = "the four IDX files, .npz files, or class folders with PNG or JPEG pictures"

# Supported pairs of keys for images and labels, in lower case.
SPLIT_KEYS = (("x_train", "y_train"), ("train_images", "train_labels"), ("train_x", "train_y"))
WHOLE_KEYS = (("x", "y"), ("images", "labels"), ("data", "target"), ("data", "labels"))
TRAINING_KEYS = SPLIT_KEYS + WHOLE_KEYS
TEST_KEYS = (("x_test", "y_test"), ("test_images", "test_labels"), ("test_x", "test_y"))


def is_usable(name: str) -> bool:
    """Whether a file of this name can be part of a folder of USABLE."""
    return name.lower().endswith((".npz", *SUFFIXES)) or bool(IDX_NAME.fullmatch(name))


def open_contents(path: Path) -> Contents:
    """Recognise and open a file or folder; images are not read yet.

    Raises:
        DataError: It holds nothing usable, or is damaged.
    """
    if path.is_dir():
        return _open_folder(path)
    if IDX_NAME.fullmatch(path.name):
        raise DataError(
            f"{path}: one IDX file; expected the folder that holds all four: images and labels of train and t10k. "
            f"Give the folder: {path.parent}"
        )
    match recognise(path):
        case "zip":
            return _open_archives(path, [path], "an .npz file")
        case "npy":
            found = "a single array (.npy)"
            advice = "Save images and labels together: numpy.savez('data.npz', X=images, y=labels)."
        case "picture":
            found, advice = "a single picture", "Give a folder that holds a folder of pictures for each class."
        case "gzip":
            found, advice = "a gzip archive", "Unpack it and give the folder."
        case "idx":
            found, advice = "no .npz file", "If it is an IDX file, give the folder that holds all four."
        case kind:
            found, advice = f"looks like {kind}", "Get it again." if path.suffix == ".npz" else "Convert it to .npz."
    raise DataError(
        f"{path}: {found}; expected an .npz file, or a folder with IDX files, .npz files or class folders. {advice}"
    )


def _open_folder(folder: Path) -> Contents:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    idx = [name for name in names if IDX_NAME.fullmatch(name)]
    archives = [name for name in names if name.lower().endswith(".npz")]
    if idx and archives:
        raise DataError(
            f"{folder}: holds both IDX files ({idx[0]}, ...) and .npz files ({archives[0]}, ...); expected one "
            "kind. Give one file, or move the others elsewhere."
        )
    if idx:
        arrays = [open_idx(file) for file in find_four(folder, idx)]
        return Contents([pair_up(*arrays[:2])], [pair_up(*arrays[2:])], kind="four IDX files")
    if archives:
        kind = "an .npz file" if len(archives) == 1 else f"{len(archives)} .npz files, read as one,"
        return _open_archives(folder, [folder / name for name in sorted(archives, key=natural)], kind)
    if any(_holds_pictures(entry) for entry in subfolders(folder)):
        return open_class_folders(folder)
    found = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
    raise DataError(f"{folder}: holds {found}; expected {USABLE}. {_advise(folder, names)}")


def _advise(folder: Path, names: list[str]) -> str:
    """Suggest what to do about a folder that holds nothing usable."""
    for inner in subfolders(folder):
        if any(IDX_NAME.fullmatch(entry.name) or entry.suffix == ".npz" for entry in inner.iterdir()) or any(
            _holds_pictures(entry) for entry in subfolders(inner)
        ):
            return f"Did you mean {inner}?"
    if any(name.lower().endswith(SUFFIXES) for name in names):
        return "Sort the pictures into a folder for each class, named as the class."
    return "Put the data there or give another folder."


def _holds_pictures(folder: Path) -> bool:
    """Whether a folder is a class folder, or a split's folder with class folders."""
    inner = subfolders(folder) if folder.name.lower() in SPLIT_NAMES else []
    return any(entry.suffix.lower() in SUFFIXES for each in (folder, *inner) for entry in each.iterdir())


def _open_archives(path: Path, archives: list[Path], kind: str) -> Contents:
    """Read .npz files as one.

    Args:
        path: The file or their folder, for messages.
    """
    contents = Contents(kind=kind)
    for archive in archives:
        arrays = list_arrays(archive)
        keys = {key.lower(): key for key in arrays}
        used: set[str] = set()
        for parts, pairs in ((contents.training, TRAINING_KEYS), (contents.test, TEST_KEYS)):
            if pair := next((pair for pair in pairs if keys.keys() >= set(pair)), None):
                parts.append(pair_up(*(open_array(archive, keys[name]) for name in pair)))
                used |= set(pair)
        if not used:
            raise DataError(
                f"{archive}: has the arrays {', '.join(arrays)}; expected x_train, y_train, x_test, y_test, or "
                "train_images, train_labels, test_images, test_labels, or X and y. Save it again under such names."
            )
        if left := [key for lower, key in keys.items() if lower not in used]:
            contents.notes.append(f"Left out of {archive.name}: {', '.join(left)}.")
    if not contents.training:
        raise DataError(
            f"{path}: has test images but none for training; expected x_train and y_train too. Add them, or save all "
            "images under X and y: a test split is then made."
        )
    return contents


def pair_up(images: StoredArray, labels: StoredArray) -> Part:
    """Combine images with their labels.

    Raises:
        DataError: Their counts differ, or they do not look like images or labels.
    """
    if images.count != labels.count:
        is_last = images.shape[-1] == labels.count
        advice = "Move the axis: numpy.moveaxis(images, -1, 0)." if is_last else "Get or save it again."
        raise DataError(
            f"{images.name}: {images.count:,} images, shape {images.shape}, but {labels.count:,} labels in "
            f"{labels.name}; expected a label for each image, counted along the first axis. {advice}"
        )
    return Part(open_images(images), read_labels(labels))
