"""What ingestion costs: rows a second against reading and writing alone, memory, and the way from a drop to training.

The floor reads a Parquet file with pyarrow and writes it again with the same compression, block by block. Ingestion
checks every value in between and parts the rows. Merging is measured beside it: it puts the parts together with the
version before. Each figure is from a fresh process; a ratio is the median of the pairs' ratios.

    python -m benchmarks.ingestion [--quick]
    python -m benchmarks.ingestion --rows 10000000 --files 200    # processing and merging of so many alone
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from insurance_claims.data.synthesize import write_synthetic

SEED = 13
_CODEC = "zstd"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much to measure: rows of the speed's file; rows of a file and numbers of files for memory; repeats."""

    rows: int
    file_rows: int
    files: tuple[int, ...]
    repeats: int


FULL = Sizes(rows=1_000_000, file_rows=50_000, files=(20, 200), repeats=3)
QUICK = Sizes(rows=100_000, file_rows=20_000, files=(5, 20), repeats=1)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took: seconds of wall and of CPU for its work, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def floor(source: Path, target: Path) -> Cost:
    """Read a Parquet file and write it again."""
    import pyarrow.parquet as pq

    from insurance_claims.ingestion.blocks import BLOCK_ROWS

    def copy() -> None:
        with (
            pq.ParquetFile(source) as file,
            pq.ParquetWriter(target, file.schema_arrow, compression=_CODEC) as new,
        ):
            for batch in file.iter_batches(BLOCK_ROWS, use_threads=False):
                new.write_batch(batch)

    return _cost(copy)


def process(sources: list[Path], output: Path) -> Cost:
    """Check files and part their rows, as the step does."""
    from insurance_claims.ingestion.process import process_file

    def work() -> None:
        for number, source in enumerate(sources):
            outcome = process_file(source, output, f"{number}.parquet", 0.05)
            if outcome.part is None:
                raise RuntimeError(f"{source}: {outcome.reason}")

    return _cost(work)


def put_together(parts: list[Path], target: Path) -> Cost:
    """Merge the parts of a batch."""
    from insurance_claims.ingestion.merge import merge

    return _cost(lambda: merge(None, parts, target))


def drop_to_training(folder: Path, rows: int) -> tuple[float, float]:
    """Seconds from a file's drop to its version, and to the moment when training would begin.

    A watcher with the default pace but for a folder's settling time, which is waiting alone.
    """
    from ml_service.ingestion.ingestor import Ingestor
    from ml_service.ingestion.landing import open_landing
    from ml_service.ingestion.options import Limits, Pace
    from ml_service.ingestion.training import Trigger
    from ml_service.ingestion.watch import Watcher
    from ml_service.platforms.base import PipelineRun
    from ml_service.platforms.local.platform import LocalPlatform
    from ml_service.settings import Settings

    landing = folder / "landing"
    landing.mkdir()
    platform = LocalPlatform(Settings.model_validate({"MLOPS_HOME": folder / "home"}))
    _ = platform.state.mlflow

    class Begun(Exception):
        """Training would begin now."""

    class Stopped(Trigger):
        def train(self) -> PipelineRun | None:
            if self.due() is not None:
                raise Begun
            return None

    def quiet(line: str) -> None:
        return None

    ingestor = Ingestor(platform, open_landing(str(landing)), "claims", Limits(), quiet)
    watcher = Watcher(ingestor, Stopped(platform, "claims", None, quiet), Pace(settle=0), quiet)
    write_synthetic(landing / "claims.csv", rows, SEED)
    began, versioned = time.perf_counter(), 0.0
    while True:
        try:
            records, _ = watcher.look()
        except Begun:
            return versioned, time.perf_counter() - began
        if records:
            versioned = time.perf_counter() - began
        time.sleep(0.05)


def _cost(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _apart(function: Callable[..., Any], *arguments: object) -> Any:
    """In a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _speed(folder: Path, sizes: Sizes) -> None:
    files = {ending: folder / f"speed.{ending}" for ending in ("parquet", "csv", "csv.gz")}
    for path in files.values():
        write_synthetic(path, sizes.rows, SEED)
    print(f"| {sizes.rows:,} rows of | rows/s | floor rows/s | ratio | CPU ratio | target |")
    print("|---|---|---|---|---|---|")
    for ending, path in files.items():
        pairs = []
        for number in range(sizes.repeats):
            alone = _apart(floor, files["parquet"], folder / "floor.parquet")
            pairs.append((_apart(process, [path], folder / f"out-{ending}-{number}"), alone))
        walls = median(alone.wall / ours.wall for ours, alone in pairs)
        cpus = median(alone.cpu / ours.cpu for ours, alone in pairs)
        ours = sizes.rows / median(ours.wall for ours, _ in pairs)
        least = sizes.rows / median(alone.wall for _, alone in pairs)
        target = "at least 0.6" if ending == "parquet" else ""
        print(
            f"| .{ending} | {ours:,.0f} | {least:,.0f} | {walls:.2f} | {cpus:.2f} | {target} |",
            flush=True,
        )


def _memory(folder: Path, sizes: Sizes) -> None:
    source = folder / "one.parquet"
    write_synthetic(source, sizes.file_rows, SEED)
    print("\n| rows | files | processing s | peak MB | merging s | peak MB |")
    print("|---|---|---|---|---|---|")
    for count in sizes.files:
        output = folder / f"memory-{count}"
        processed = _apart(process, [source] * count, output)
        parts = sorted((output / "curated").iterdir())
        _renumber(parts)
        merged = _apart(put_together, parts, folder / "merged.parquet")
        print(
            f"| {count * sizes.file_rows:,} | {count} | {processed.wall:.1f} | {processed.memory:,.0f} "
            f"| {merged.wall:.1f} | {merged.memory:,.0f} |",
            flush=True,
        )
        shutil.rmtree(output)


def _renumber(parts: list[Path]) -> None:
    """Give every part ids of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from insurance_claims.schema import ID

    first = 0
    for part in parts:
        with pq.ParquetFile(part) as file:
            table = file.read()
        ids = pc.add(table.column(ID), pa.scalar(first))
        first += int(pc.max(table.column(ID)).as_py()) + 1
        position = table.column_names.index(ID)
        pq.write_table(table.set_column(position, ID, ids), part, compression=_CODEC)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingestion", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repeats")
    parser.add_argument("--rows", type=int, help="with --files: of all files together")
    parser.add_argument(
        "--files", type=int, help="measure processing and merging of so many files alone"
    )
    chosen = parser.parse_args()
    if (chosen.rows is None) != (chosen.files is None):
        parser.error("--rows and --files go together")
    if chosen.files is not None and min(chosen.rows, chosen.files) < 1:
        parser.error("--rows and --files are 1 or more")
    sizes = QUICK if chosen.quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if chosen.files is not None:
            file_rows = -(-chosen.rows // chosen.files)
            _memory(folder, replace(sizes, file_rows=file_rows, files=(chosen.files,)))
            return
        _speed(folder, sizes)
        _memory(folder, sizes)
        version, training = drop_to_training(folder, 10_000)
    print("\n| from a drop of 10,000 rows in a folder, without settling, to | s |\n|---|---|")
    print(
        f"| the data version | {version:.1f} |\n| the begin of training, 10 s of quiet | {training:.1f} |"
    )


if __name__ == "__main__":
    main()
