"""What batch scoring costs on top of LightGBM, and how much memory it takes.

A batch reads a file, checks every row, scores and writes parts. Beside it LightGBM alone predicts the same rows, which
are in memory already, with the same number of threads. Both run in fresh processes, in turn, so that whatever else the
machine does falls on both; a ratio is the median of the pairs' ratios. Processor time is printed beside it: on a
machine with other work it is the steadier figure.

Then one process and a Dask cluster of two workers score few and many rows: peak memory, which is to stay flat, and
speed.

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
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
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
    """What one process took: seconds of wall and of CPU for its work, and its peak memory in MB.

    Of a cluster the memory is that of the process that took most.
    """

    wall: float
    cpu: float
    memory: float


def batch(model: Path, data: Path, threads: int) -> Cost:
    """Score a file as ``mlops score FILE --output DIR`` does."""
    from insurance_claims.scoring.batch.job import BatchModel, Options
    from insurance_claims.scoring.batch.run import score_files

    loaded = BatchModel(load_model(model), "claims", 1)
    options = Options(load_parameters().scoring.headroom, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        return _cost(
            lambda: score_files([str(data)], output, loaded, options, lambda progress: None)
        )


def on_dask(model: Path, data: Path, workers: int) -> Cost:
    """Score a file as ``mlops score FILE --output DIR --engine dask`` does, on a cluster that has started already."""
    from insurance_claims.dask_cluster import dask_client
    from insurance_claims.scoring.batch.job import BatchModel, Options
    from insurance_claims.scoring.batch.on_dask import dask_engine
    from insurance_claims.scoring.batch.run import score_files

    loaded = BatchModel(load_model(model), "claims", 1)
    options = Options(load_parameters().scoring.headroom, threads=workers)
    with tempfile.TemporaryDirectory() as folder:
        with dask_client(None, workers) as client:
            # What workers import, they import once.
            client.run(import_module, "insurance_claims.scoring.batch.work")
            engine = dask_engine(lambda: nullcontext(client))
            cost = _cost(
                lambda: score_files(
                    [str(data)],
                    Path(folder) / "out",
                    loaded,
                    options,
                    lambda progress: None,
                    engine,
                )
            )
    workers_memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return replace(cost, memory=max(cost.memory, workers_memory))


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
    context = multiprocessing.get_context("spawn")
    # Unlike those of multiprocessing.Pool, its processes may start processes.
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


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
    print(
        f"| peak memory, MB | {sizes.small:,} rows | {sizes.large:,} rows | ratio | rows/s of the latter |"
    )
    print("|---|---|---|---|---|")
    processors = os.cpu_count() or 1
    engines = (
        (f"one process, {processors} threads", batch, processors),
        ("Dask, 2 workers", on_dask, 2),
    )
    for ending in ("parquet", "csv"):
        found: list[list[Cost]] = [[] for _ in engines]
        for rows in (sizes.small, sizes.large):
            path = folder / f"memory.{ending}"
            write_synthetic(path, rows, SEED)
            for costs, (_, engine, threads) in zip(found, engines, strict=True):
                costs.append(_apart(engine, model, path, threads))
            path.unlink()
        for (small, large), (name, _, _) in zip(found, engines, strict=True):
            print(
                f"| .{ending}, {name} | {small.memory:.0f} | {large.memory:.0f} "
                f"| {large.memory / small.memory:.2f} | {sizes.large / large.wall:,.0f} |",
                flush=True,
            )
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
