"""Check MNIST: the local file is complete, or the next run can fetch it."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import requests

from components.mnist.data import sources
from components.mnist.data.arrays import DAMAGE
from components.mnist.storage.causes import find_cause
from components.mnist.storage.https import check_address, public
from pipelines.checks import Finding, fail, ok, warn

HEAD_SECONDS = (3.0, 5.0)  # to connect, to answer

# sha256 of each array's bytes, independent of the packing; the same as in MNIST's original IDX files.
ARRAYS = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


def check_data() -> Finding:
    """Whether MNIST is on this machine or can be fetched; without it, a run uses the sample."""
    file = Path(os.environ.get("MNIST_DATA_DIR") or "data", "mnist.npz")
    return check_file(file) if file.exists() else check_fetching(file)


def check_file(file: Path) -> Finding:
    """Whether a file is MNIST and complete."""
    again = f"Let the next run fetch it again: rm {file}"
    try:
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        if sha256 == (os.environ.get("MNIST_SHA256") or sources.MNIST_SHA256):
            return ok(f"{file} is MNIST, whole")
        # Reading the arrays also compares the archive's own checksums.
        with np.load(file, allow_pickle=False) as npz:
            arrays = {key: hashlib.sha256(np.ascontiguousarray(npz[key]).data).hexdigest() for key in npz.files}
    except PermissionError:
        return fail(f"this user may not read {file}.", f"Change its permissions: chmod u+r {file}")
    except DAMAGE:
        return fail(f"{file} is damaged, or not an .npz file.", again)
    if missing := [key for key in ARRAYS if key not in arrays]:
        return fail(f"{file} lacks {', '.join(missing)}; expected {', '.join(ARRAYS)}.", again)
    if others := [key for key in ARRAYS if arrays[key] != ARRAYS[key]]:
        return warn(f"{file} can be read, but is not MNIST ({', '.join(others)}).", again)
    return ok(f"{file} is MNIST, whole")


def check_fetching(file: Path) -> Finding:
    """Whether the next run can fetch MNIST; requests only the headers."""
    address = os.environ.get("MNIST_URL") or sources.MNIST_URL
    host = urlsplit(address).hostname
    check_address(address)
    try:
        answer = requests.head(address, allow_redirects=True, timeout=HEAD_SECONDS)
        problem = "" if answer.ok else f"answers {answer.status_code} {answer.reason}"
    except requests.RequestException as error:
        problem = f"cannot be reached ({find_cause(error)})"
    if problem:
        return warn(
            f"{file} is missing, and {host} {problem}: a run uses the sample of 1,797 digits instead.",
            f"Check the network, or copy {public(address)} to {file} by other means.",
        )
    size = answer.headers.get("Content-Length", "")
    megabytes = f" ({int(size) / 1e6:.1f} MB)" if size.isdigit() else ""
    return ok(f"{file} is missing; the next run fetches it from {host}{megabytes}")
