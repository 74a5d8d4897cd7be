"""What scoring costs on top of the server: requests a second of score.py and of other handlers in the same server.

Each handler gets a gunicorn of its own, started as the local platform starts it, with one worker. They are loaded in
turn, round after round, so that whatever else the machine does falls on all of them alike; the figures are medians over
the rounds, and a ratio is the median of the rounds' ratios. The worker's own processor time a request is printed beside
it: on a machine with other work it is the steadier figure.

    python -m benchmarks.serving [--quick]
"""

from __future__ import annotations

import argparse
import errno
import os
import selectors
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import joblib  # type: ignore[import-untyped]
import lightgbm as lgb
import numpy as np
import orjson
import psutil
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.model import save_model
from ml_service.platforms.local.serving_command import HOST, SCORE_SCRIPT, server_command

_HANDLERS = Path(__file__).with_name("handlers")
OURS = "score.py"
EMPTY = "empty handler, raw HTTP"
EMPTY_PLAIN = "empty handler, plain"
DATAFRAME = "DataFrame and sklearn wrapper"
HANDLERS = {
    OURS: SCORE_SCRIPT,
    EMPTY: _HANDLERS / "empty_raw.py",
    EMPTY_PLAIN: _HANDLERS / "empty_plain.py",
    DATAFRAME: _HANDLERS / "dataframe_sklearn.py",
}
TREES, LEAVES = 300, 31


@dataclass(frozen=True, slots=True)
class Load:
    """What one round of load gave.

    Attributes:
        answered: requests answered with 200.
        seconds: that they took together.
        p50_ms: median time from connecting to the last byte.
        p99_ms: 99th percentile of the same.
        errors: answered with anything else, or not at all.
    """

    answered: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def requests_per_second(self) -> float:
        """Requests answered with 200 in a second."""
        return self.answered / self.seconds


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: scoring address.
        pid: of gunicorn's master.
    """

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that the workers have used so far."""
        times = [worker.cpu_times() for worker in psutil.Process(self.pid).children()]
        return float(sum(time.user + time.system for time in times))


@dataclass(frozen=True, slots=True)
class Round:
    """One round of load on one handler."""

    load: Load
    cpu_us: float
    """The worker's processor time a request, in microseconds."""


def measure(
    url: str,
    body: bytes,
    seconds: float,
    *,
    connections: int = 4,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Post a body again and again, with a new connection for each request.

    The server's sync workers close every connection, so a client that reuses them would measure nothing else.

    Args:
        url: ``http://host:port/path`` of a server, or of a router before it.
        body: JSON to post.
        seconds: how long.
        connections: requests in flight at any time. 1 measures latency, more measure throughput.
        headers: to send besides, such as a key.
    """
    address = urlsplit(url)
    target = (address.hostname or HOST, address.port or 80)
    lines = {
        "Host": address.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"POST {address.path} HTTP/1.1\r\n{head}\r\n".encode() + body
    times: list[float] = []
    errors = 0
    with selectors.DefaultSelector() as selector:

        def start() -> None:
            client = socket.socket()
            client.setblocking(False)
            code = client.connect_ex(target)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            selector.register(client, selectors.EVENT_WRITE, [time.perf_counter(), request, b""])

        begin = time.perf_counter()
        end = begin + seconds
        for _ in range(connections):
            start()
        while selector.get_map():
            for key, _ in selector.select(timeout=10) or _silent(url):
                assert isinstance(key.fileobj, socket.socket)
                if not _go_on(selector, key.fileobj, key.data):
                    continue
                if key.data[2].startswith(b"HTTP/1.1 200"):
                    times.append(time.perf_counter() - key.data[0])
                else:
                    errors += 1
                if time.perf_counter() < end:
                    start()
        lasted = time.perf_counter() - begin
    if not times:
        raise RuntimeError(f"{url} did not answer a single request with 200")
    p50, p99 = np.percentile(np.array(times) * 1000, [50, 99])
    return Load(len(times), lasted, float(p50), float(p99), errors)


def _silent(url: str) -> list[tuple[selectors.SelectorKey, int]]:
    raise RuntimeError(f"{url} has not answered for 10 seconds")


def _go_on(selector: selectors.BaseSelector, client: socket.socket, state: list[bytes]) -> bool:
    """Write or read what can be written or read now; say whether the answer has ended."""
    try:
        if state[1]:
            state[1] = state[1][client.send(state[1]) :]
            if not state[1]:
                selector.modify(client, selectors.EVENT_READ, state)
            return False
        piece = client.recv(65536)
        state[2] += piece
    except BlockingIOError:
        return False
    except OSError:
        piece = b""
    if piece:
        return False
    selector.unregister(client)
    client.close()
    return True


@contextmanager
def serve(model_dir: Path, entry_script: Path = SCORE_SCRIPT) -> Iterator[Server]:
    """Serve a model folder on a free port with one worker."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    argv, environment = server_command(model_dir, port, entry_script=entry_script)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            argv, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(process, f"http://{HOST}:{port}/")
            yield Server(f"http://{HOST}:{port}/score", process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(process: subprocess.Popen[bytes], url: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server at {url} did not start")


def make_model(model_dir: Path) -> NDArray[np.float64]:
    """Train a model of usual size on noise, write it as model folder and as pickle, and return some rows."""
    generator = np.random.default_rng(1)
    rows = np.column_stack(
        [
            np.round(generator.uniform(column.minimum, column.maximum, 20_000), places)
            for column in schema.FEATURES
            for places in [0 if column.is_integer else 2]
        ]
    )
    claims = generator.random(len(rows)) < 0.02 + 0.02 * (rows[:, 0] > 3)
    classifier = lgb.LGBMClassifier(
        n_estimators=TREES, num_leaves=LEAVES, random_state=1, n_jobs=1, verbose=-1
    )
    classifier.fit(rows, claims, feature_name=list(schema.FEATURE_NAMES))
    model_dir.mkdir(parents=True)
    save_model(model_dir, classifier.booster_.model_to_string(), {})
    joblib.dump(classifier, model_dir / "classifier.joblib")
    return rows


def compare(seconds: float, rounds: int) -> dict[str, list[Round]]:
    """Load every handler with single rows, in turn, and return its rounds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model_dir = folder / "insurance_claims" / "1"
        body = orjson.dumps({"data": make_model(model_dir)[:1].tolist()})
        servers = {
            name: stack.enter_context(serve(model_dir, path)) for name, path in HANDLERS.items()
        }
        for server in servers.values():
            measure(server.url, body, seconds / 4)
        result: dict[str, list[Round]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, server in servers.items():
                before = server.cpu_seconds()
                load = measure(server.url, body, seconds)
                cpu_us = 1e6 * (server.cpu_seconds() - before) / (load.answered + load.errors)
                result[name].append(Round(load, cpu_us))
        return result


def table(rounds: Mapping[str, list[Round]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| single row, one worker | requests/s | p50 ms | p99 ms | CPU us | errors "
        "| score.py against it, requests/s | the same, CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, own in rounds.items():
        pairs = list(zip(rounds[OURS], own, strict=True))
        cells = [
            name,
            f"{median(item.load.requests_per_second for item in own):,.0f}",
            f"{median(item.load.p50_ms for item in own):.2f}",
            f"{median(item.load.p99_ms for item in own):.2f}",
            f"{median(item.cpu_us for item in own):.0f}",
            str(sum(item.load.errors for item in own)),
            f"{median(a.load.requests_per_second / b.load.requests_per_second for a, b in pairs):.2f} x",
            f"{median(b.cpu_us / a.cpu_us for a, b in pairs):.2f} x",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--quick", action="store_true", help="few short rounds: seconds, not a minute"
    )
    quick = parser.parse_args().quick
    print(table(compare(seconds=0.5 if quick else 2.0, rounds=3 if quick else 9)))
    print(f"\n{TREES} trees of {LEAVES} leaves; targets: 0.90 x {EMPTY}, 2.5 x {DATAFRAME}.")


if __name__ == "__main__":
    main()
