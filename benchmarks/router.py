"""What the router adds to a single-row request: directly to a model server, and through the router in front of it.

``python -m benchmarks.router`` deploys a small synthetic model to a temporary endpoint. Requests of both ways
alternate, so that whatever else the machine does hits both alike. Each request to the model server needs a connection
of its own, for it closes them; those to the router keep theirs, as a client of the endpoint would.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.models import LEAVES, TREES, make_model
from benchmarks.servers import deployed
from insurance_claims import schema
from ml_service.platforms.local.programs import Serving
from ml_service.platforms.local.routes import ROUTES_FILE, read_routes

HEADER = (
    "| what | direct p50 ms | router p50 ms | added p50 ms | direct p95 ms | router p95 ms "
    "| direct req/s | router req/s |\n|---|---|---|---|---|---|---|---|"
)


def measure(
    router_port: int, server_port: int, key: str, requests: int
) -> tuple[list[float], list[float]]:
    """Seconds of each request, directly and through the router, in blocks of 20 that alternate."""
    body = json.dumps({"data": [[item.minimum for item in schema.FEATURES]]}).encode()
    to_router = http.client.HTTPConnection("127.0.0.1", router_port, timeout=10)
    ways: tuple[list[float], list[float]] = ([], [])
    for block in range(-2, 2 * requests // 20):
        through = bool(block % 2)
        for _ in range(20):
            began = time.perf_counter()
            if through:
                _score(to_router, body, key)
            else:
                direct = http.client.HTTPConnection("127.0.0.1", server_port, timeout=10)
                _score(direct, body, key)
                direct.close()
            # The first block of each way warms up.
            if block >= 0:
                ways[through].append(time.perf_counter() - began)
    to_router.close()
    return ways


def row(direct: Sequence[float], router: Sequence[float]) -> str:
    """A row of the Markdown table."""
    p50 = [1000 * statistics.median(times) for times in (direct, router)]
    p95 = [1000 * statistics.quantiles(times, n=20)[-1] for times in (direct, router)]
    rates = [len(times) / sum(times) for times in (direct, router)]
    return (
        f"| router, single row | {p50[0]:.2f} | {p50[1]:.2f} | {p50[1] - p50[0]:.2f} "
        f"| {p95[0]:.2f} | {p95[1]:.2f} | {rates[0]:.0f} | {rates[1]:.0f} |"
    )


def _score(connection: http.client.HTTPConnection, body: bytes, key: str) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection.request("POST", "/score", body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise SystemExit(f"error: {response.status} {content[:300]!r}")


def main() -> None:
    """Deploy, measure, print the table, remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="each way")
    parser.add_argument("--trees", type=int, default=TREES)
    parser.add_argument("--leaves", type=int, default=LEAVES)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    arguments = parser.parse_args()
    requests = arguments.requests // 10 if arguments.quick else arguments.requests
    with tempfile.TemporaryDirectory() as name:
        model_dir = Path(name) / "1"
        make_model(model_dir, arguments.trees, arguments.leaves)
        with deployed(lambda version: model_dir, Serving()) as endpoints:
            endpoint = endpoints.deploy("staging", 1, lambda line: print(line, file=sys.stderr))
            routes = read_routes(endpoints.folder("staging") / ROUTES_FILE)
            port = urlsplit(endpoint.url).port
            assert port is not None
            ways = measure(port, routes.backends[1].port, endpoint.key, requests)
    print(HEADER)
    print(row(*ways))


if __name__ == "__main__":
    main()
