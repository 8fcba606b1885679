"""Measure the peak memory of downloads for growing files, over https:// and gs://, whole and cut half-way.

    python -m tests.benchmarks.download_memory            # writes results/download_memory.csv; about a minute

The servers are on this machine. Each row is the median of REPEATS fresh processes: the most memory that one held
after a download of 1 kB, with all that it imports, the same after the file, and the seconds that the file took.
Read from /proc, so on Linux only: ru_maxrss would count what the parent held too. Fails when a file of any size takes
more than BOUND_MB above the first figure.
"""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.fakes.files_server import Fault, File, FilesServer
from tests.fakes.storage_server import StorageServer, Trouble, run_emulator, serve_storage

RESULTS = Path(__file__).parent / "results" / "download_memory.csv"
SIZES_MB = (3, 30, 300)
REPEATS = 3
BOUND_MB = 20
COLUMNS = ("protocol", "connection", "file_mb", "before_mb", "peak_mb", "growth_mb", "seconds")

CHILD = """
import re, sys, time
from pathlib import Path

def fetch(address, target):
    if address.startswith("gs://"):
        from components.mnist.storage.gs import copy
        copy(address, target)
    else:
        from components.mnist.storage.https import download
        download(address, target, sha256=None)

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

folder = Path(sys.argv[1])
fetch(sys.argv[2], folder / "small")
before = peak()
started = time.monotonic()
fetch(sys.argv[3], folder / "large")
print(before, peak(), time.monotonic() - started, (folder / "large").stat().st_size)
"""


@dataclass
class Servers:
    """Both servers, and what a process needs to reach them."""

    files: FilesServer
    storage: StorageServer
    environment: dict[str, str]

    def connect(self) -> storage.Client:
        """A client of the storage server."""
        options = ClientOptions(api_endpoint=self.storage.address)
        return storage.Client(project="benchmark", credentials=AnonymousCredentials(), client_options=options)

    def put(self, name: str, body: bytes) -> None:
        """Put a file on both."""
        self.files.files[f"/{name}"] = File(body)
        self.connect().bucket("benchmark").blob(name).upload_from_string(body)

    def find(self, protocol: str, name: str) -> str:
        """The address of a file."""
        return f"gs://benchmark/{name}" if protocol == "gs" else f"{self.files.address}/{name}"

    def cut(self, protocol: str, after: int) -> None:
        """Break the connection of the next file that is larger than that."""
        if protocol == "gs":
            self.storage.troubles = [Trouble("/download/.*large", cut_after=after)]
        else:
            self.files.faults = [Fault(), Fault(cut_after=after)]


@contextmanager
def serve() -> Iterator[Servers]:
    """Both servers, with a file of 1 kB called `small`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = stack.enter_context(FilesServer())
        certificate = files.secure(folder)
        server = stack.enter_context(serve_storage(stack.enter_context(run_emulator())))
        environment = {
            **os.environ,
            "NO_PROXY": "*",
            "REQUESTS_CA_BUNDLE": str(certificate),
            "STORAGE_EMULATOR_HOST": server.address,
        }
        servers = Servers(files, server, environment)
        servers.connect().create_bucket("benchmark")
        servers.put("small", os.urandom(1000))
        yield servers


def measure(servers: Servers, protocol: str, size: int, *, is_cut: bool) -> tuple[int, int, float]:
    """Download `small`, then `large`, in a process of its own.

    Returns:
        Bytes held at most before and in the end, and seconds of the second download.
    """
    if is_cut:
        servers.cut(protocol, size // 2)
    with tempfile.TemporaryDirectory() as folder:
        addresses = [servers.find(protocol, name) for name in ("small", "large")]
        child = subprocess.run(
            [sys.executable, "-c", CHILD, folder, *addresses],
            env=servers.environment,
            check=True,
            capture_output=True,
            text=True,
        )
    before, peak, seconds, arrived = child.stdout.split()[-4:]
    if int(arrived) != size or servers.storage.troubles or servers.files.faults:
        raise SystemExit(f"{protocol}: {arrived} bytes of {size:,} arrived, or the connection was not cut")
    return 1024 * int(before), 1024 * int(peak), float(seconds)


def summarize(servers: Servers, protocol: str, megabytes: int, *, is_cut: bool) -> dict[str, object]:
    """A line of the results: medians of repeats."""
    runs = [measure(servers, protocol, megabytes * 10**6, is_cut=is_cut) for _ in range(REPEATS)]
    before, peak, seconds = (statistics.median(values) for values in zip(*runs, strict=True))
    return {
        "protocol": f"{protocol}://",
        "connection": "cut half-way" if is_cut else "whole",
        "file_mb": megabytes,
        "before_mb": round(before / 1e6, 1),
        "peak_mb": round(peak / 1e6, 1),
        "growth_mb": round((peak - before) / 1e6, 1),
        "seconds": round(seconds, 2),
    }


def main() -> int:
    """Measure, write, print, and return 1 when a row is above the bound."""
    rows = []
    print("".join(f"{column:>14}" for column in COLUMNS))
    with serve() as servers:
        for megabytes in SIZES_MB:
            servers.put("large", os.urandom(megabytes * 10**6))
            for protocol in ("https", "gs"):
                for is_cut in (False, True):
                    rows.append(summarize(servers, protocol, megabytes, is_cut=is_cut))
                    print("".join(f"{value!s:>14}" for value in rows[-1].values()), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return int(any(float(str(row["growth_mb"])) > BOUND_MB for row in rows))


if __name__ == "__main__":
    sys.exit(main())
