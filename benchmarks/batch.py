"""What batch scoring costs on top of LightGBM, and how much memory it takes.

A batch reads a file, checks every row, scores and writes parts. Beside it LightGBM alone predicts the same rows, which
are in memory already, with the same number of threads. Both run in fresh processes, in turn, so that whatever else the
machine does falls on both; a ratio is the median of the pairs' ratios. Processor time is printed beside it: on a
machine with other work it is the steadier figure.

    python -m benchmarks.batch [--quick]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from insurance_claims.data.synthesize import synthesize, write_synthetic
from insurance_claims.model import load_model, save_model
from insurance_claims.parameters import load_parameters
from insurance_claims.schema import FEATURE_NAMES, TARGET

SEED = 9
TRAINED_ON = 100_000
ROUNDS = 600


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much to measure: rows of the speed's and of the memory's files, and repeats."""

    rows: int
    small: int
    large: int
    repeats: int


FULL = Sizes(rows=1_000_000, small=1_000_000, large=10_000_000, repeats=3)
QUICK = Sizes(rows=100_000, small=200_000, large=800_000, repeats=1)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took: seconds of wall and of CPU for its work, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def batch(model: Path, data: Path, threads: int) -> Cost:
    """Score a file as ``mlops score FILE --output DIR`` does."""
    from insurance_claims.scoring.batch.run import BatchModel, Options, score_files

    loaded = BatchModel(load_model(model), "claims", 1)
    options = Options(load_parameters().scoring.headroom, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        return _cost(
            lambda: score_files([str(data)], output, loaded, options, lambda progress: None)
        )


def predict_alone(model: Path, data: Path, threads: int) -> Cost:
    """Predict the rows of a Parquet file, in memory as rows side by side."""
    import numpy as np
    import pyarrow.parquet as pq

    loaded = load_model(model)
    table = pq.read_table(data, columns=list(FEATURE_NAMES))
    rows = np.empty((table.num_rows, len(FEATURE_NAMES)))
    for position, name in enumerate(FEATURE_NAMES):
        rows[:, position] = table[name].to_numpy()
    return _cost(lambda: loaded.booster.predict(rows, num_threads=threads))


def train(folder: Path) -> None:
    """A model of the shipped recipe's settings, with rounds as many as it takes on real data."""
    import lightgbm as lgb

    from insurance_claims.training.recipe import settings

    table, _ = synthesize(TRAINED_ON, SEED)
    chosen = settings(load_parameters().training)
    data = lgb.Dataset(table[list(FEATURE_NAMES)].to_numpy(float), table[TARGET].to_numpy())
    booster = lgb.train(chosen, data, num_boost_round=ROUNDS)
    folder.mkdir()
    save_model(folder, booster.model_to_string(), {})


def _cost(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _apart(function: Callable[..., Any], *arguments: object) -> Any:
    """In a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _speed(folder: Path, model: Path, sizes: Sizes) -> None:
    files = {ending: folder / f"speed.{ending}" for ending in ("parquet", "csv", "csv.gz")}
    for path in files.values():
        write_synthetic(path, sizes.rows, SEED)
    print(f"| {sizes.rows:,} rows | threads | batch rows/s | LightGBM alone | ratio | CPU ratio |")
    print("|---|---|---|---|---|---|")
    for threads in sorted({1, os.cpu_count() or 1}):
        for ending, path in files.items():
            pairs = [
                (
                    _apart(predict_alone, model, files["parquet"], threads),
                    _apart(batch, model, path, threads),
                )
                for _ in range(sizes.repeats)
            ]
            ours = sizes.rows / median(own.wall for _, own in pairs)
            theirs = sizes.rows / median(alone.wall for alone, _ in pairs)
            ratio = median(alone.wall / own.wall for alone, own in pairs)
            cpu = median(alone.cpu / own.cpu for alone, own in pairs)
            print(
                f"| .{ending} | {threads} | {ours:,.0f} | {theirs:,.0f} | {ratio:.2f} | {cpu:.2f} |",
                flush=True,
            )
    print("\nTarget: a ratio of at least 0.85.\n")


def _memory(folder: Path, model: Path, sizes: Sizes) -> None:
    print(f"| peak memory, MB | {sizes.small:,} rows | {sizes.large:,} rows | ratio |")
    print("|---|---|---|---|")
    for ending in ("parquet", "csv"):
        found = []
        for rows in (sizes.small, sizes.large):
            path = folder / f"memory.{ending}"
            write_synthetic(path, rows, SEED)
            found.append(_apart(batch, model, path, os.cpu_count() or 1).memory)
            path.unlink()
        small, large = found
        print(f"| .{ending} | {small:.0f} | {large:.0f} | {large / small:.2f} |", flush=True)
    print("\nTarget: flat.")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, once")
    sizes = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        _apart(train, model)
        _speed(folder, model, sizes)
        _memory(folder, model, sizes)


if __name__ == "__main__":
    main()
