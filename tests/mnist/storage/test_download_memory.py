import os
import sys
from collections.abc import Iterator

import pytest

from tests.benchmarks.download_memory import BOUND_MB, Servers, measure, serve

SIZE = 60_000_000


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with serve() as servers:
        servers.put("large", os.urandom(SIZE))
        yield servers


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("protocol", ["https", "gs"])
def test_the_memory_of_a_download_does_not_grow_with_the_file(servers, protocol, is_cut):
    before, peak, _ = measure(servers, protocol, SIZE, is_cut=is_cut)
    assert peak - before < BOUND_MB * 10**6
