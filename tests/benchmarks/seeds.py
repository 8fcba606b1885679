"""Run the whole pipeline with its defaults for three seeds and write the results.

    python tests/benchmarks/seeds.py            # writes tests/benchmarks/results/seeds.csv; five minutes on 2 cores

One line per run of `mnist run source=SOURCE seed=SEED`: accuracy on test, training and validation data, and the seconds
of the whole command. Fails when a target is missed.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "seeds.csv"
COMMAND = Path(sys.executable).parent / "mnist"
SEEDS = (0, 1, 2)
# Mean accuracy on test data, and seconds that each run may take on two cores.
TARGETS = {"mnist": (0.992, 90.0), "sample": (0.96, 45.0)}
COLUMNS = ("source", "seed", "test", "test_low", "test_high", "training", "validation", "loss", "seconds", "device")


def main() -> int:
    """Run, write, print, and return 1 when a target is missed."""
    rows = [run(source, seed) for source in TARGETS for seed in SEEDS]
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    missed = False
    for source, (least, most_seconds) in TARGETS.items():
        mine = [row for row in rows if row["source"] == source]
        mean = statistics.fmean(float(row["test"]) for row in mine)
        slowest = max(float(row["seconds"]) for row in mine)
        missed |= mean < least or slowest > most_seconds
        print(
            f"{source}: mean test accuracy {mean:.2%} (target {least:.1%}), "
            f"slowest run {slowest:.0f} s (target {most_seconds:.0f} s)"
        )
    return int(missed)


def run(source: str, seed: int) -> dict[str, object]:
    """One run of the command, as a line of the results."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run([COMMAND, "run", f"source={source}", f"seed={seed}", "--runs", folder], check=True)
        seconds = time.monotonic() - started
        steps = Path(folder) / "latest" / "steps"
        metrics = json.loads((steps / "evaluate" / "metrics" / "metrics.json").read_text(encoding="utf-8"))
        card = json.loads((steps / "train" / "model" / "model.json").read_text(encoding="utf-8"))
    return {
        "source": source,
        "seed": seed,
        "test": round(metrics["accuracy"], 5),
        "test_low": round(metrics["accuracy_low"], 5),
        "test_high": round(metrics["accuracy_high"], 5),
        "training": round(card["metrics"]["training_accuracy"], 5),
        "validation": round(card["metrics"]["validation_accuracy"], 5),
        "loss": round(metrics["loss"], 5),
        "seconds": round(seconds, 1),
        "device": card["device"],
    }


if __name__ == "__main__":
    sys.exit(main())
