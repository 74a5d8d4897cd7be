"""What the training pipeline costs on top of a plain script that does the same work.

The script reads the CSV, splits it, chooses the rounds, refits and scores the holdout, with the same split and settings
and nothing else: no contract, no versions, no gate, no plots, no tracking. Both run as processes of their own, in turn,
so that whatever else the machine does falls on both. Each pipeline run gets an empty state folder; adding the data
version is timed apart, because it is done once for any number of runs. The script's OpenMP threads spin as long as the
pipeline's, so that neither has an advantage there.

    python -m benchmarks.pipeline_vs_script [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from insurance_claims.data.synthesize import write_synthetic
from insurance_claims.parameters import load_parameters
from ml_service.platforms.local.step_process import SPIN_COUNT

SIZES = (100_000, 595_212)
FIXED_ROWS = 1_000
SEED = 7


@dataclass(frozen=True)
class Pair:
    """One pipeline run, beside the script.

    Attributes:
        add: seconds of adding the data version.
        run: of the pipeline.
        script: of the plain script; None where it was not run.
        steps: of each step of the pipeline, by name.
    """

    add: float
    run: float
    script: float | None
    steps: dict[str, float]


def plain_script(csv: Path) -> None:
    """What somebody writes who only wants the model and its AUC."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    from insurance_claims.data.split import assign
    from insurance_claims.training.recipe import settings

    parameters = load_parameters()
    training = parameters.training
    table = pd.read_csv(csv)
    part = assign(table["id"].to_numpy(), parameters.split)
    target = table["target"].to_numpy(np.float64)
    features = table.drop(columns=["id", "target", *training.ignored_features])
    learn = part != "holdout"
    chosen = settings(training)
    data = lgb.Dataset(features[learn], target[learn], params=chosen).construct()
    validation = part[learn] == "validation"
    curve = lgb.cv(
        chosen,
        data,
        num_boost_round=training.max_rounds,
        folds=[(np.flatnonzero(~validation), np.flatnonzero(validation))],
        callbacks=[
            lgb.early_stopping(
                training.early_stopping_rounds, first_metric_only=True, verbose=False
            )
        ],
    )
    rounds = int(np.argmin(np.asarray(curve["valid binary_logloss-mean"]))) + 1
    booster = lgb.train(chosen, data, num_boost_round=rounds)
    score = booster.predict(features[~learn], num_threads=training.threads)
    print(f"rounds {rounds}, AUC {roc_auc_score(target[~learn], np.asarray(score)):.5f}")


def measure_pair(csv: Path, state: Path, with_script: bool) -> Pair:
    """One pipeline run in an empty state folder, then the script."""
    environment = os.environ | {"MLOPS_HOME": str(state)}
    mlops = [sys.executable, "-m", "ml_service"]
    add, _ = _seconds([*mlops, "data", "add", str(csv), "--name", "bench", "--json"], environment)
    run, said = _seconds([*mlops, "run", "training", "--set", "data=bench", "--json"], environment)
    steps = {step["name"]: float(step["seconds"]) for step in json.loads(said)["run"]["steps"]}
    script = None
    if with_script:
        command = [sys.executable, "-m", "benchmarks.pipeline_vs_script", "--script", str(csv)]
        script, said = _seconds(command, environment | {"GOMP_SPINCOUNT": SPIN_COUNT})
        print(f"  {said.strip()}; {script:.1f} s against {run:.1f} s", flush=True)
    return Pair(add, run, script, steps)


def _seconds(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    wall = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return wall, done.stdout


def _measure(rows: int, repeats: int, with_script: bool) -> list[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder) / "claims.csv"
        write_synthetic(csv, rows, SEED)
        return [measure_pair(csv, Path(folder) / f"state{n}", with_script) for n in range(repeats)]


def _row(rows: int, pairs: list[Pair]) -> str:
    names = pairs[0].steps
    steps = ", ".join(f"{name} {median(p.steps[name] for p in pairs):.1f}" for name in names)
    cells = [f"{rows:,}", _cell([p.run for p in pairs])]
    both = [(p.run, p.script) for p in pairs if p.script]
    if both:
        # Of the pairs, not of the medians: a pair shares what else the machine did.
        ratio = median(run / script for run, script in both)
        cells += [_cell([script for _, script in both]), f"{ratio:.2f}"]
    else:
        cells += ["–", "–"]
    return f"| {' | '.join([*cells, steps, _cell([p.add for p in pairs])])} |"


def _cell(seconds: list[float]) -> str:
    return f"{median(seconds):.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 rows only, once")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--script", type=Path, metavar="CSV", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.script:
        plain_script(arguments.script)
        return
    repeats = 1 if arguments.quick else arguments.repeats
    sizes = SIZES[:1] if arguments.quick else SIZES
    lines = [_row(FIXED_ROWS, _measure(FIXED_ROWS, repeats, with_script=False))]
    lines += [_row(rows, _measure(rows, repeats, with_script=True)) for rows in sizes]
    print("\n## Training pipeline against a plain script, seconds\n")
    print("| rows | pipeline | script | ratio | steps | adding the data version |")
    print("|---|---|---|---|---|---|")
    print("\n".join(lines))
    print(f"\nThe row of {FIXED_ROWS:,} rows is the fixed cost of a pipeline of four steps.")


if __name__ == "__main__":
    main()
