"""What telemetry and collection cost: requests a second of score.py with both on, against the same server without.

Three servers run at once and are loaded in turn, round after round, so that whatever else the machine does falls on all
of them alike: one that reports nothing, one that sends to a sink of its own (`mlops monitor`, on the same machine) and
keeps every row, and one that does so while nobody answers at the sink's address. A ratio is the median of the rounds'
ratios, with quartiles in brackets.

    python -m benchmarks.telemetry [--quick]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import orjson

from benchmarks.load import Load, measure
from benchmarks.models import make_model
from benchmarks.serving import spread
from insurance_claims import telemetry
from insurance_claims.monitoring import collection
from insurance_claims.telemetry import Connection
from ml_service.monitoring.connection import local_connection
from ml_service.platforms.local.probe import free_port
from ml_service.platforms.local.serving_command import HOST, server_command

ROWS = (1, 100)
OFF, ON, HANGING = "off", "telemetry and collection", "the same, the sink hangs"
TARGETS = {ON: 0.95, HANGING: 0.9}
_CONNECTIONS = 4
_KEY = "00000000-0000-4000-8000-000000000000"
_START_SECONDS = 120.0


def compare(
    model_dir: Path, rows: list[list[float]], seconds: float, rounds: int
) -> dict[int, dict[str, list[Load]]]:
    """Load the three servers in turn.

    Args:
        model_dir: of ``benchmarks.models.make_model``.
        rows: to send, at least as many as the largest of ``ROWS``.
        seconds: of one round.
        rounds: for each number of rows a request.

    Returns:
        By rows a request and server, its rounds.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        hanging = stack.enter_context(socket.create_server((HOST, 0), backlog=64))
        address = f"http://{HOST}:{hanging.getsockname()[1]}"
        sink = stack.enter_context(_sink(home))
        connections = {ON: sink, HANGING: Connection(address, _KEY).text}
        urls = {OFF: stack.enter_context(_server(model_dir, {}))}
        for name, connection in connections.items():
            own = {telemetry.CONNECTION: connection, collection.LOCATION: str(home / name)}
            urls[name] = stack.enter_context(_server(model_dir, {**own, collection.SECONDS: "5"}))
        result: dict[int, dict[str, list[Load]]] = {}
        for size in ROWS:
            body = orjson.dumps({"data": rows[:size]})
            result[size] = {name: [] for name in urls}
            # The first round warms up.
            for number in range(-1, rounds):
                for name, url in urls.items():
                    load = measure(url, body, seconds, connections=_CONNECTIONS)
                    if number >= 0:
                        result[size][name].append(load)
        return result


@contextmanager
def _sink(home: Path) -> Iterator[str]:
    """The connection string of a sink in a process of its own."""
    command = [sys.executable, "-m", "ml_service", "monitor", "--port", "0"]
    environment = {**os.environ, "MLOPS_HOME": str(home), "MLOPS_PLATFORM": "local"}
    with _process(command, environment):
        end = time.monotonic() + _START_SECONDS
        while (found := local_connection(home)) is None:
            if time.monotonic() > end:
                raise RuntimeError("the sink did not start")
            time.sleep(0.1)
        yield found


@contextmanager
def _server(model_dir: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """The scoring address of a server with one worker."""
    port = free_port()
    command, own = server_command(model_dir, port)
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in (telemetry.CONNECTION, *collection.VARIABLES)
    }
    with _process(command, {**clean, **own, **variables}) as process:
        end = time.monotonic() + _START_SECONDS
        while not _answers(f"http://{HOST}:{port}/"):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server did not start")
            time.sleep(0.1)
        yield f"http://{HOST}:{port}/score"


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few short rounds: half a minute")
    quick = parser.parse_args().quick
    seconds, rounds = (1.0, 4) if quick else (5.0, 9)
    with tempfile.TemporaryDirectory() as folder:
        model_dir = Path(folder) / "insurance_claims" / "1"
        rows = make_model(model_dir)[: max(ROWS)].tolist()
        found = compare(model_dir, rows, seconds, rounds)
    print(
        "| rows | telemetry | requests/s | p99 ms | errors | against off |\n|---|---|---|---|---|---|"
    )
    for size, servers in found.items():
        for name, loads in servers.items():
            pairs = zip(loads, servers[OFF], strict=True)
            ratios = [a.requests_per_second / b.requests_per_second for a, b in pairs]
            cells = [
                *(f"{size:,}", name),
                f"{median(load.requests_per_second for load in loads):,.0f}",
                f"{median(load.p99_ms for load in loads):.2f}",
                str(sum(load.errors for load in loads)),
                spread(ratios),
            ]
            print(f"| {' | '.join(cells)} |")
    print("\nTargets: " + ", ".join(f"{name} {target} x" for name, target in TARGETS.items()))


if __name__ == "__main__":
    main()
