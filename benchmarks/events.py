"""Ten million records in the sink's store: how fast they are taken, what they take, and what is still answered quickly.

A month of scoring workers and nightly training is written as the sink writes it, a transaction for each batch of a
sender; once with a tenth of the records. The dashboard, the alerts and `mlops runs why` ask what they ask; then half of
it is removed as the retention does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any

from benchmarks.dashboard import PANELS, asked, observed
from insurance_claims.monitoring import wire
from insurance_claims.monitoring.step_report import ENDED, STARTED
from ml_service.monitoring.alerts.definitions import load_alerts
from ml_service.monitoring.alerts.evaluation import all_readings
from ml_service.monitoring.alerts.watch import firing
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.dashboard.rollup import Rollup
from ml_service.monitoring.dashboard.span import RANGES
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind
from ml_service.settings import ALERTS_FILE

MONTH = timedelta(days=29)
WORKERS = 3
METRICS = (
    *("requests", "errors", "refused", "latency_p95_ms", "score_mean"),
    *("process_memory_mb", "process_cpu_percent"),
)
STEPS = ("prepare", "train", "evaluate", "register")
FEATURES = 57
_BATCH = 200
"""Records that a sender posts at once."""
_POSTED = 20_000
_TARGET_SECONDS = 1.0


def records(count: int, now: datetime) -> Iterator[Event]:
    """About so many records, oldest first: what workers send every few seconds, and what nightly runs do."""
    bodies = observed()
    rounds = round(count / (WORKERS * (1 + len(METRICS) + 1 / 12)))
    every, numbers = MONTH / rounds, itertools.count()
    nights = {round(rounds * (day + 0.5) / MONTH.days): day for day in range(MONTH.days)}

    def event(
        kind: Kind, moment: datetime, name: str, said: Mapping[str, str], of: Mapping[str, float]
    ) -> Event:
        return Event(
            kind, moment, name, {**said, "item_id": f"{next(numbers):032x}"}, of, arrived=moment
        )

    for number in range(rounds):
        moment = now - MONTH + every * (number + 0.5)
        for worker in range(1, WORKERS + 1):
            said = {
                "environment": "production",
                "host": "claims-scoring",
                "process": str(4000 + worker),
                "trace_id": f"{worker:032x}",
                "model_name": "insurance_claims",
                wire.MODEL_VERSION: str(1 + worker % 2),
            }
            body = bodies[(number + worker) % len(bodies)]
            content = {**said, **body, "refused": '{"row":1}'}
            yield event(Kind.EVENT, moment, wire.EVENT, content, {"rows": 120.0})
            for metric in METRICS:
                yield event(Kind.METRIC, moment, metric, said, _value(float(number % 90)))
            if number % 12 == 0:
                yield event(Kind.METRIC, moment, "collected_rows", said, _value(1440.0))
            if number % 500 == worker:
                stack = {**said, "message": "KeyError", "traceback": "score.py:90 in run\n" * 20}
                yield event(Kind.EXCEPTION, moment, "KeyError", stack, {})
            if number % 250 == worker:
                text = {**said, "message": "scored rows cannot be written, and are tried again"}
                yield event(Kind.MESSAGE, moment, "warning", text, {})
        if number in nights:
            for kind, name, said, of in _night(nights[number]):
                yield event(kind, moment, name, said, of)


def _night(day: int) -> Iterator[tuple[Kind, str, dict[str, str], dict[str, float]]]:
    run = {"pipeline_run_id": f"run-{day}", "trace_id": f"{day:031x}f"}
    for step in STEPS:
        about = {**run, "step": step}
        yield Kind.EVENT, STARTED, about, {}
        ended = {"seconds": 12.0, "peak_memory_mb": 400.0, "warnings": 0.0, "rows": 1e5}
        yield Kind.EVENT, ENDED, {**about, "outcome": "completed"}, ended
    for number in range(FEATURES):
        about = {wire.MODEL_VERSION: "2", "feature": f"ps_{number}"}
        yield Kind.EVENT, "drift", about, {"psi": 0.01, "expected_psi": 0.01, "ks": 0.01}
    for state in ("fired", "resolved"):
        about = {
            "name": "drift",
            "key": "2",
            "state": state,
            "severity": "3",
            "reason": "",
            "action": "",
        }
        yield Kind.EVENT, "alert", about, {}


def _value(value: float) -> dict[str, float]:
    return {"value": value, "count": 1.0, "minimum": value, "maximum": value}


def fill(store: Store, events: Iterator[Event]) -> int:
    """Write records, a batch a transaction; says how many."""
    count = 0
    while batch := list(itertools.islice(events, _BATCH)):
        store.add(batch)
        count += len(batch)
    return count


def questions(store: Store, now: datetime) -> dict[str, Callable[[], object]]:
    """What is asked of the store beside the dashboard."""
    alerts = load_alerts(ALERTS_FILE)
    night = now - MONTH / 2
    return {
        "every alert, once": lambda: all_readings(alerts, store, now),
        "alerts that fire": lambda: firing(store, now),
        "a run's steps": lambda: list(
            store.events(ENDED, night, where={"pipeline_run_id": "run-14"})
        ),
        "exceptions of an hour": lambda: list(
            store.records(Kind.EXCEPTION, night, night + timedelta(hours=1))
        ),
        "an hour of a metric by version": lambda: store.series(
            *("requests", night, night + timedelta(hours=1), timedelta(minutes=1)),
            by=wire.MODEL_VERSION,
        ),
    }


def posted(endpoint: str, key: str, count: int) -> float:
    """Records a second that a sink takes over HTTP from one sender."""
    said = {"host": "claims-scoring", "process": "1", "model_name": "insurance_claims"}

    def envelope(number: int) -> dict[str, Any]:
        points = [{"name": "posted", "value": number, "count": 1}]
        data = {"metrics": points, "properties": {**said, "item_id": str(number)}}
        return {
            "iKey": key,
            "time": datetime.now(UTC).isoformat(),
            "data": {"baseType": "MetricData", "baseData": data},
        }

    bodies = [
        json.dumps([envelope(number) for number in range(first, first + _BATCH)]).encode()
        for first in range(0, count, _BATCH)
    ]
    began = time.perf_counter()
    for body in bodies:
        with urllib.request.urlopen(
            urllib.request.Request(f"{endpoint}/v2.1/track", body), timeout=60
        ) as answer:
            answer.read()
    return count / (time.perf_counter() - began)


def _measured(home: Path, store: Store, now: datetime, repeats: int) -> dict[str, str]:
    """One column of the second table."""
    from tests.ml_service.monitoring.conftest import RunningSink

    found = {}
    sink = RunningSink(home)
    slowest = 0.0
    for panel in PANELS:
        seconds = [asked(sink.connection.endpoint, panel, name, repeats)[0] for name in RANGES]
        slowest = max(slowest, *seconds)
        found[f"dashboard, {panel}"] = " / ".join(f"{1000 * value:.0f}" for value in seconds)
    for name, question in questions(store, now).items():
        times = [_timed(question) for _ in range(repeats)]
        slowest = max(slowest, median(times))
        found[name] = f"{1000 * median(times):.0f}"
    found["slowest"] = f"{1000 * slowest:.0f}"
    rate = posted(sink.connection.endpoint, sink.connection.key, _POSTED)
    found["taken over HTTP, records/s"] = f"{rate:,.0f}"
    sink.stop()
    return found


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def follow(rollup: Rollup) -> None:
    """Add up all that is in the store."""
    while rollup.catch_up():
        pass


def _prune(store: Store, before: datetime) -> list[float]:
    """Seconds of each step."""
    steps, more = [], True
    while more:
        began = time.perf_counter()
        more = store.prune(before)
        steps.append(time.perf_counter() - began)
    return steps


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 records")
    quick = parser.parse_args().quick
    count, repeats = (100_000, 3) if quick else (10_000_000, 5)
    print(
        "| records | written/s | added up/s | file, MB | peak memory, MB | half removed in | longest step, ms |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    answers = {}
    for wanted in (count // 10, count):
        with tempfile.TemporaryDirectory() as scratch:
            home, now = Path(scratch), datetime.now(UTC)
            store = Store(folder_of(home))
            began = time.perf_counter()
            total = fill(store, records(wanted, now))
            written = time.perf_counter()
            follow(Rollup(store))
            added = time.perf_counter()
            size = store.path.stat().st_size
            found = _measured(home, store, now, repeats)
            steps = _prune(store, now - MONTH / 2)
            store.close()
        cells = [
            *(
                f"{total:,}",
                f"{total / (written - began):,.0f}",
                f"{total / (added - written):,.0f}",
            ),
            *(f"{size / 1e6:,.0f}", f"{getrusage(RUSAGE_SELF).ru_maxrss / 1024:,.0f}"),
            *(f"{sum(steps):.1f} s, {len(steps):,} steps", f"{1000 * max(steps):.0f}"),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
        answers[total] = found
    print(f"\n| ms ({' / '.join(RANGES)}) | {' | '.join(f'{n:,} records' for n in answers)} |")
    print(f"|---|{'---|' * len(answers)}")
    for name in found:
        print(f"| {name} | {' | '.join(column[name] for column in answers.values())} |")
    print(f"\ntarget: no answer above {_TARGET_SECONDS:g} s")


if __name__ == "__main__":
    main()
