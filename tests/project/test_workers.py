"""How `make test` spreads the tests over processes."""

import re
import subprocess
import sys

from tests.conftest import ROOT, find_group

MODULES = ("tests/mnist/test_settings.py", "tests/mnist/test_errors.py", "tests/mnist/evaluation/test_metrics.py")


def test_a_module_stays_in_one_process_and_both_processes_work() -> None:
    """Fixtures of a module are made once, and tests with containers do not meet: xdist's own groups do not hold."""
    words = [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider", *MODULES]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ran = re.findall(r"^\[(gw\d)\].* PASSED (\S+?)::", shown, re.MULTILINE)
    workers = {module: {worker for worker, ran_module in ran if ran_module == module} for module in MODULES}
    assert all(len(own) == 1 for own in workers.values()), workers
    assert len(set.union(*workers.values())) == 2


def test_modules_with_containers_are_one_group() -> None:
    groups = {
        find_group(f"tests/{module}.py") for module in ("containers/test_containers", "pipelines/runners/test_docker")
    }
    assert groups == {"docker"}
    assert find_group(MODULES[0]) == MODULES[0]
