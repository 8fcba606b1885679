"""A file that was compiled for a platform, given to KFP's own local runner: it is the same pipeline there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import compiler

from pipelines import compilation, training
from pipelines.platforms.kubeflow.profile import KubeflowProfile, Toleration
from pipelines.platforms.vertex.profile import VertexProfile
from tests.pipelines.platforms.test_profiles import REFERENCES, kubeflow, vertex

# As a person would write it who has the file and kfp, and nothing of this project but its environment.
RUN = """
import sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
components.load_component_from_file(sys.argv[1])(source="sample", epochs=1)
"""


@pytest.mark.parametrize(
    "profile",
    [
        kubeflow(
            accelerator="nvidia.com/gpu",
            node_selector={"pool": "gpu"},
            tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists"),),
            pull_secret="registry",
            time_to_live_hours=24,
        ),
        vertex(accelerator="NVIDIA_L4"),
    ],
    ids=["kubeflow", "vertex"],
)
def test_a_file_for_a_platform_also_runs_here(profile: KubeflowProfile | VertexProfile, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(
        training.build(profile.placement(compilation.choose_images(profile, REFERENCES))), str(file)
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file), str(tmp_path / "root")],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [metrics] = (tmp_path / "root").glob("*/evaluate/metrics/metrics.json")
    assert json.loads(metrics.read_text(encoding="utf-8"))["count"] == 360
    [report] = (tmp_path / "root").glob("*/visualize/report")
    assert report.stat().st_size > 50_000
