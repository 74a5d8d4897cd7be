"""How long the dashboard takes to answer with a million records in the store, and how long its sums take to follow.

A week of scoring workers is written. Each panel is asked over HTTP as the page asks for it; the week's scores are also
made of the events themselves, which is what the sums save.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import Observations
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.dashboard.cells import Events
from ml_service.monitoring.dashboard.rollup import Rollup
from ml_service.monitoring.dashboard.scoring import scoring
from ml_service.monitoring.dashboard.span import RANGES, Span
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind

PANELS = ("scoring", "resources", "training", "drift", "alerts", "deployments")
METRICS = ("requests", "errors", "score_mean", "process_cpu_percent", "process_memory_mb")
WEEK = timedelta(days=7)
WORKERS = (1, 2)
_WRITTEN = 6000
_TARGET_SECONDS = 1.0


def observed() -> list[dict[str, str]]:
    """What servers say of latencies and scores in one window after the other."""
    generator = np.random.default_rng(1)
    return [
        wire.encode(Observations.of(generator.lognormal(1.2, 0.5, 60), generator.beta(4, 110, 120)))
        for _ in range(50)
    ]


def records(count: int, now: datetime) -> Iterator[Event]:
    """So many records of two workers, each with a version of its own, over the last week."""
    bodies = observed()
    each = len(WORKERS) * (1 + len(METRICS))
    every = WEEK / (count // each)
    for number in range(count // each):
        moment = now - WEEK + every * (number + 0.5)
        for worker in WORKERS:
            said = {
                wire.MODEL_VERSION: str(worker),
                wire.ENVIRONMENT: "production",
                "process": str(4000 + worker),
                "item_id": f"{number}-{worker}",
            }
            content = {**said, **bodies[(number + worker) % len(bodies)], "refused": '{"row":1}'}
            yield Event(Kind.EVENT, moment, wire.EVENT, content, {"rows": 120.0})
            for position, metric in enumerate(METRICS):
                value = float(number % 90)
                figures = {"value": value, "count": 1.0, "minimum": value, "maximum": value}
                identity = {"item_id": f"{number}-{worker}-{position}"}
                yield Event(Kind.METRIC, moment, metric, {**said, **identity}, figures)


def fill(store: Store, count: int, now: datetime) -> None:
    """Write records."""
    batch: list[Event] = []
    for event in records(count, now):
        batch.append(event)
        if len(batch) == _WRITTEN:
            store.add(batch)
            batch = []
    store.add(batch)
    store.close()


def asked(address: str, panel: str, name: str, repeats: int) -> tuple[float, int]:
    """Median seconds and bytes of a panel's answer.

    Args:
        address: of a sink.
        panel: one of ``PANELS``.
        name: of a time range.
        repeats: how often it is asked.
    """
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        with urllib.request.urlopen(f"{address}/api/{panel}?range={name}", timeout=300) as answer:
            size = len(answer.read())
        seconds.append(time.perf_counter() - began)
    return median(seconds), size


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print the tables."""
    from tests.ml_service.monitoring.conftest import RunningSink

    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and repeats")
    quick = parser.parse_args().quick
    count, repeats = (120_000, 3) if quick else (1_000_000, 7)
    with tempfile.TemporaryDirectory() as scratch:
        home, now = Path(scratch), datetime.now(UTC)
        store = Store(folder_of(home))
        fill(store, count, now)
        rollup = Rollup(store)

        def follow() -> None:
            while rollup.catch_up():
                pass

        following = _timed(follow)
        print("| records | added up in | records/s |\n|---|---|---|")
        print(f"| {count:,} | {following:.1f} s | {count / following:,.0f} |\n")
        sink = RunningSink(home)
        print(
            "| panel | " + " | ".join(f"{name}, ms" for name in RANGES) + " | largest answer, kB |"
        )
        print("|---|" + "---|" * (len(RANGES) + 1))
        slowest = 0.0
        for panel in PANELS:
            answers = [asked(sink.connection.endpoint, panel, name, repeats) for name in RANGES]
            slowest = max(slowest, *(seconds for seconds, _ in answers))
            times = " | ".join(f"{1000 * seconds:.0f}" for seconds, _ in answers)
            print(f"| {panel} | {times} | {max(size for _, size in answers) / 1000:.0f} |")
        sink.stop()
        span = Span.of(now - WEEK, now)
        events = _timed(lambda: scoring(Events(store).cells(span), span, None))
        sums = _timed(lambda: scoring(rollup.cells(span), span, None))
        print("\n| 7 d of scores from | s | ratio |\n|---|---|---|")
        print(f"| the events | {events:.2f} | 1 |\n| the sums | {sums:.2f} | {sums / events:.3f} |")
        print(f"\nslowest answer: {slowest:.2f} s; target: at most {_TARGET_SECONDS:g} s")


if __name__ == "__main__":
    main()
