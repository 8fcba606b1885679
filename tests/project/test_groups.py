"""How the suite is spread over processes."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_the_tests_of_a_module_run_in_one_process(request: pytest.FixtureRequest) -> None:
    """Otherwise each process makes the fixtures of the module for itself."""
    assert request.node.nodeid.endswith("@tests/project/test_groups.py")
