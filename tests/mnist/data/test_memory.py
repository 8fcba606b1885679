import sys

import pytest

from tests.benchmarks.ingest_memory import bound, measure


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("kind", ["uint8 .npz", "flat float64 .npz", "uint8 .npz, Fortran order"])
def test_the_memory_of_ingest_hardly_grows_with_the_data(kind):
    few, many = 10_000, 40_000
    (_, least), (_, most) = measure(kind, few), measure(kind, many)
    assert most < bound(many)
    # What the bound allows for each image is 1,568 bytes; a whole copy as uint8 would take 784.
    assert (most - least) / (many - few) < 784
