"""A run's folder."""

import json
from pathlib import Path

from pipelines.run_folder import RunFolder


def test_two_runs_within_a_second_get_folders_of_their_own(tmp_path: Path) -> None:
    folders = {RunFolder(tmp_path, title="").folder for _ in range(3)}
    assert len(folders) == 3


def test_latest_points_to_the_newest_run_and_survives_a_move(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for _ in range(2):
        newest = RunFolder(tmp_path / "runs", title="")
        newest.link_as_latest()
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == (tmp_path / "moved" / newest.folder.name).resolve()


def test_a_folder_that_somebody_named_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    RunFolder(tmp_path, title="").link_as_latest()
    assert not (tmp_path / "latest").is_symlink()
    assert not list(tmp_path.glob(".latest*"))


def test_facts_about_a_run_add_up(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, title="evaluate")
    run.save(state="running")
    run.save(state="succeeded", seconds={"evaluate": 1.5})
    record = json.loads((run.folder / "run.json").read_text())
    assert record["state"] == "succeeded"
    assert record["seconds"] == {"evaluate": 1.5}
    assert run.folder.name.endswith("-evaluate")


def test_the_report_is_copied_to_the_top(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, title="")
    drawn = run.steps / "visualize"
    (drawn / "figures").mkdir(parents=True)
    (drawn / "figures" / "loss.png").write_bytes(b"png")
    assert run.collect_report() is None
    (drawn / "report").write_text("<html>")
    assert run.collect_report() == run.folder / "report.html"
    assert (run.folder / "figures" / "loss.png").is_file()
