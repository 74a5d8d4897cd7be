"""What scoring costs on top of the server: requests a second of score.py and of other ways to serve the same model.

Beside it stand handlers in the same inference server (empty ones, and one with a DataFrame and a pickle), ``mlflow
models serve``, a FastAPI app, and score.py behind the router. All run at once and are loaded in turn, round after
round, so that whatever else the machine does falls on all of them alike; the figures are medians over the rounds with
quartiles in brackets, and a ratio is the median of the rounds' ratios. The processor time of the server's own processes
is printed beside it: on a machine with other work it is the steadier figure.

Every request has a connection of its own, for the inference server closes them; uvicorn and the router could keep
theirs. The client, the servers and the router share the machine's cores.

    python -m benchmarks.serving [--quick] [--trees 300 --leaves 31] [--rows 1 100 1000]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from benchmarks.load import Load, measure
from benchmarks.models import LEAVES, TREES, make_model
from benchmarks.servers import DATAFRAME, EMPTY, OURS, serve_all

WORKERS = (1, 2)
ROWS = (1, 100, 1_000)
_CONNECTIONS = 4

HEADER = (
    "| workers | rows | server | requests/s | p50 ms | p99 ms | CPU us | errors "
    "| score.py against it, requests/s | the same, CPU |\n|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True)
class Round:
    """One round of load on one server.

    Attributes:
        load: what the client saw.
        cpu_us: processor time a request of the server's processes, in microseconds.
    """

    load: Load
    cpu_us: float


def compare(
    model_dir: Path,
    rows: list[list[float]],
    workers: int,
    seconds: float,
    rounds: int,
    sizes: Sequence[int] = ROWS,
) -> dict[int, dict[str, list[Round]]]:
    """Load every server in turn.

    Args:
        model_dir: of ``benchmarks.models.make_model``.
        rows: to send, at least as many as the largest of ``sizes``.
        workers: processes of each server.
        seconds: of one round.
        rounds: for each number of rows a request.
        sizes: rows a request.

    Returns:
        By rows a request and server, its rounds.
    """
    result: dict[int, dict[str, list[Round]]] = {}
    with serve_all(model_dir, workers) as servers:
        for size in sizes:
            bodies = {name: server.body(rows[:size]) for name, server in servers.items()}
            result[size] = {name: [] for name in servers}
            # The first round warms up.
            for number in range(-1, rounds):
                for name, server in servers.items():
                    before = server.cpu_seconds()
                    load = measure(
                        server.url,
                        bodies[name],
                        seconds,
                        connections=_CONNECTIONS,
                        headers=server.headers,
                    )
                    spent = server.cpu_seconds() - before
                    if number >= 0:
                        cpu_us = 1e6 * spent / (load.answered + load.errors)
                        result[size][name].append(Round(load, cpu_us))
    return result


def lines(workers: int, size: int, rounds: Mapping[str, Sequence[Round]]) -> list[str]:
    """The rows of the Markdown table for one number of workers and of rows."""
    result = []
    for name, own in rounds.items():
        pairs = list(zip(rounds[OURS], own, strict=True))
        speed = [a.load.requests_per_second / b.load.requests_per_second for a, b in pairs]
        cells = [
            str(workers),
            f"{size:,}",
            name,
            f"{median(item.load.requests_per_second for item in own):,.0f}",
            f"{median(item.load.p50_ms for item in own):.2f}",
            f"{median(item.load.p99_ms for item in own):.2f}",
            f"{median(item.cpu_us for item in own):,.0f}",
            str(sum(item.load.errors for item in own)),
            spread(speed),
            spread([b.cpu_us / a.cpu_us for a, b in pairs]),
        ]
        result.append(f"| {' | '.join(cells)} |")
    return result


def spread(ratios: Sequence[float]) -> str:
    """The median of at least two ratios, and their quartiles."""
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f} x ({low:.2f} to {high:.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--quick", action="store_true", help="few short rounds: two minutes, not ten"
    )
    parser.add_argument("--trees", type=int, default=TREES, help=f"of the model, {TREES}")
    parser.add_argument("--leaves", type=int, default=LEAVES, help=f"of each tree, {LEAVES}")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="rows a request")
    asked = parser.parse_args()
    quick: bool = asked.quick
    sizes: Sequence[int] = asked.rows
    seconds, rounds = (0.3, 2) if quick else (1.5, 7)
    with tempfile.TemporaryDirectory() as folder:
        model_dir = Path(folder) / "insurance_claims" / "1"
        rows = make_model(model_dir, asked.trees, asked.leaves)[: max(sizes)].tolist()
        print(HEADER, flush=True)
        for workers in WORKERS:
            measured = compare(model_dir, rows, workers, seconds, rounds, sizes)
            for size, found in measured.items():
                print("\n".join(lines(workers, size, found)), flush=True)
    print(
        f"\n{asked.trees} trees of {asked.leaves} leaves; targets for one row and one worker: "
        f"0.90 x {EMPTY}, 2.5 x {DATAFRAME}."
    )


if __name__ == "__main__":
    main()
