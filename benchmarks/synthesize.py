"""How long synthetic data take to write, beside pandas writing the same table from memory.

    python -m benchmarks.synthesize [--rows 595212]

Each file is written by a fresh process, imports included. CPU time is what other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REAL_ROWS = 595_212
SEED = 1


def ours(path: Path, rows: int) -> tuple[float, float]:
    """Seconds of wall and CPU for generating and writing, true probabilities included."""
    return _timed(lambda: _write(path, rows))


def pandas_only(path: Path, rows: int) -> tuple[float, float]:
    """Seconds of wall and CPU for writing a table that is in memory already."""
    from insurance_claims.data.synthesize import synthesize

    table, _ = synthesize(rows, SEED)
    if path.suffix == ".parquet":
        return _timed(lambda: table.to_parquet(path, index=False))
    return _timed(lambda: table.to_csv(path, index=False))


def _write(path: Path, rows: int) -> None:
    from insurance_claims.data.synthesize import write_synthetic

    write_synthetic(path, rows, SEED, path.with_name("truth.parquet"))


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _measure(
    function: Callable[[Path, int], tuple[float, float]], path: Path, rows: int
) -> tuple[float, float, float]:
    """Wall and CPU seconds, and the process's peak memory in MB."""
    wall, cpu = function(path, rows)
    return wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=REAL_ROWS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    arguments = parser.parse_args()
    rows = arguments.rows // 10 if arguments.quick else arguments.rows
    print(f"| {rows:,} rows | wall s | CPU s | peak MB | file MB | CPU, of pandas' writing alone |")
    print("|---|---|---|---|---|---|")
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("parquet", "csv", "csv.gz"):
            path = Path(folder) / f"data.{ending}"
            found = {}
            for function in (pandas_only, ours):
                with fresh.Pool(1) as pool:
                    found[function] = pool.apply(_measure, (function, path, rows))
            wall, cpu, memory = found[ours]
            size = path.stat().st_size / 1e6
            ratio = cpu / found[pandas_only][1]
            print(
                f"| .{ending} | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {size:.0f} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
