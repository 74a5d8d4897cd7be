"""``mlops demo``: the whole loop, as the commands that a person would type."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.shown import run_shown
from ml_service.settings import settings


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="Your own file in Kaggle's format. Default: synthetic rows are made."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Synthetic rows to make.")] = 100_000,
) -> None:
    """The whole loop: data, training, the gate, registration, an endpoint, a smoke test.

    Prints every command before it runs it, so that each can be typed again.
    """
    started = time.monotonic()
    home = settings().home
    if data is not None and not data.is_file():
        raise ClaimsError(
            f"there is no file {data}: give --data a CSV or Parquet file (make demo DATA=FILE)"
        )
    if data is None:
        data = home / f"synthetic-{rows}.csv"
        if not data.exists():
            run_shown("data", "synthesize", "--rows", str(rows), "--seed", "1", str(data))
    scores = home / "scores.csv"
    with _monitor(home):
        run_shown("data", "validate", str(data))
        run_shown("data", "add", str(data))
        run_shown("run", "training")
        if not _has_champion():
            print(_REFUSED)
            return
        run_shown("deploy", "staging")
        run_shown("smoke-test", "staging")
        run_shown("score", str(_SAMPLE), "--output", str(scores))
        _wait_for_telemetry(home)
    print(_NEXT.format(seconds=time.monotonic() - started, scores=scores))


@contextmanager
def _monitor(home: Path) -> Iterator[None]:
    """Telemetry of what the demo starts is received meanwhile, here or by a monitor that runs already."""
    from ml_service.monitoring.connection import local_connection

    if local_connection(home) is not None:
        yield
        return
    log = home / "monitor.log"
    home.mkdir(parents=True, exist_ok=True)
    print(f"$ mlops monitor --port {_MONITOR_PORT} > {log} &", flush=True)
    with log.open("wb") as file:
        monitor = subprocess.Popen(
            [sys.executable, "-m", "ml_service", "monitor", "--port", str(_MONITOR_PORT)],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        while local_connection(home) is None and monitor.poll() is None:
            time.sleep(_LOOK_SECONDS)
        if monitor.poll() is not None:
            reason = log.read_text(encoding="utf-8").strip()
            print(f"there is no telemetry of this demo: {reason}", flush=True)
        yield
    finally:
        monitor.send_signal(signal.SIGTERM)
        monitor.wait()


def _wait_for_telemetry(home: Path) -> None:
    """Wait until what was asked last is told: a server does so once the window that it falls into has ended."""
    from insurance_claims.monitoring import wire
    from insurance_claims.monitoring.recorder import interval
    from ml_service.monitoring.connection import folder_of, local_connection
    from ml_service.monitoring.store import Store

    if local_connection(home) is None:
        return
    asked = datetime.now(UTC)
    store = Store(folder_of(home))
    end = time.monotonic() + interval() + _DELIVERY_SECONDS
    while time.monotonic() < end and not any(store.events(wire.EVENT, asked)):
        time.sleep(_LOOK_SECONDS)
    store.close()


_MONITOR_PORT = 8600
_LOOK_SECONDS = 0.1
_DELIVERY_SECONDS = 1.0
_SAMPLE = Path(__file__).parents[2] / "data" / "sample.csv"

_NEXT = """
Done in {seconds:.0f} s: a model is served on this machine. How to go on:

  mlops models list             what is registered, and which version is the champion
  mlops models show 1           where a model came from
  mlops runs show latest        what the last run did, and what the gate said
  mlops endpoints               what is deployed, and where
  mlops ui                      runs, curves and plots in MLflow
  mlops monitor                 the dashboard: what the steps and the endpoint did, in a browser
  mlops down                    stop what was deployed

Change insurance_claims/parameters.yml, then `mlops run training`: the gate compares what comes out with the champion.
Scores of data/sample.csv are in {scores}. (`mlops` is .venv/bin/mlops: `source .venv/bin/activate` finds it.)"""

_REFUSED = """
The gate refused the model and there is no champion yet, so nothing is served. The reasons are above; what to do:

  mlops runs show latest                       the reasons again
  insurance_claims/parameters.yml              the limits of the gate, and how the model is trained
  make demo                                    the same with 100,000 synthetic rows, which is enough data
"""


def _has_champion() -> bool:
    from ml_service.cli.context import open_platform

    return open_platform(None).models.champion() is not None
