"""A long load on a canary of two versions, then an overload: what an endpoint of the local platform promises.

1. Capacity: how many requests of one row a second the router and two versions, half and half, answer at any time: in
   the slowest second of two minutes, for a shared machine is not always as fast.
2. Soak: 80% of that for ten minutes, at a fixed rate. Every request is answered, no process dies, and neither memory
   nor open files grow.
3. Overload: after a new look at the capacity, a minute at 80%, two minutes at 200%, and a minute at 80% again. What is
   too much is refused at once with 503 and Retry-After, and the accepted are answered about as fast as in the minute
   before.

The client is a process of its own on the same machine (``benchmarks.open_loop``) and takes its part of the cores, so
the capacity is that of all three together. Exit code 1 where a promise does not hold. ``soak.json`` and ``soak.png`` go
to the folder of ``--output``.

    python -m benchmarks.soak [--quick] [--output DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from benchmarks.__main__ import machine
from benchmarks.models import LEAVES, TREES, make_model
from benchmarks.open_loop import Answers, Generator, Target, generator, in_a_row
from benchmarks.processes import Growth, Usage, growth, named, sampled
from benchmarks.servers import deployed
from benchmarks.soak_picture import draw
from insurance_claims.files import write_json
from ml_service.platforms.base import Routing
from ml_service.platforms.local.endpoints import LocalEndpoints
from ml_service.platforms.local.programs import Serving
from ml_service.platforms.local.supervision import Supervisor, wait_until

SOAK_SHARE, OVERLOAD_SHARE = 0.8, 2.0
MOST_MEMORY_MB = 3.0
"""Growth of a process from warm-up to the end that its interval has to reach down to, at least."""
MOST_FILES = 3.0
MOST_P99_RATIO = 2.0
"""The accepted's p99 under overload against that of the minute before."""
MOST_REFUSAL_MS = 100.0
"""The refusals' p99: an answer that a person takes for immediate."""
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part takes, in seconds, and the time between two looks at the processes."""

    capacity: int
    soak: float
    capacity_then: int
    before: float
    overload: float
    interval: float


FULL = Plan(capacity=120, soak=600, capacity_then=10, before=60, overload=120, interval=2)
QUICK = Plan(capacity=5, soak=20, capacity_then=5, before=5, overload=60, interval=0.25)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen.

    Attributes:
        capacity: requests a second, before the soak.
        soak: answers at 80% of it.
        capacity_then: requests a second, before the overload.
        before: answers at 80% of that.
        overload: answers at 200% of that.
        after: answers at 80% again.
        usage: of each process, during the soak.
        ended: processes that died on the way.
    """

    capacity: float
    soak: Answers
    capacity_then: float
    before: Answers
    overload: Answers
    after: Answers
    usage: Mapping[str, Usage]
    ended: list[str]


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that has to hold, whether it did, and the figures."""

    text: str
    held: bool
    found: str


def measure(plan: Plan) -> Measured:
    """Deploy two versions, load them, and remove them."""
    with tempfile.TemporaryDirectory() as folder:
        model_dir = Path(folder) / "insurance_claims" / "1"
        row = make_model(model_dir)[0].tolist()
        with deployed(lambda version: model_dir, Serving()) as endpoints, generator() as client:
            target = _deploy(endpoints, row)
            return _load(plan, client, target, Supervisor(endpoints.folder("staging")))


def _deploy(endpoints: LocalEndpoints, row: list[float]) -> Target:
    endpoint = endpoints.deploy("staging", 1, lambda line: None)
    endpoints.start_version("staging", 2)
    if not wait_until(lambda: endpoints.health("staging", 2)[0] == "healthy", 120):
        raise SystemExit(f"error: version 2 does not serve: {endpoints.health('staging', 2)[1]}")
    endpoints.set_routing("staging", Routing({1: 50, 2: 50}))
    return Target(endpoint.url, endpoint.key, orjson.dumps({"data": [row]}))


def _load(plan: Plan, client: Generator, target: Target, supervisor: Supervisor) -> Measured:
    processes = named(supervisor)
    capacity = _capacity(client, target, plan.capacity)
    _say(f"capacity: {capacity:,.0f} requests/s; soak of {plan.soak:g} s begins")
    with sampled(processes, plan.interval) as usage:
        soak = client.at_rate(target, SOAK_SHARE * capacity, plan.soak).result()
    then = _capacity(client, target, plan.capacity_then)
    _say(f"soak: p99 {soak.quantile(200, 0.99):.1f} ms; capacity: {then:,.0f} requests/s")
    _say(f"overload of {plan.overload:g} s begins in {plan.before:g} s")
    shares = ((SOAK_SHARE, plan.before), (OVERLOAD_SHARE, plan.overload), (SOAK_SHARE, plan.before))
    # All handed over at once, so that one follows the other.
    parts = [client.at_rate(target, share * then, seconds) for share, seconds in shares]
    before, overload, after = (part.result() for part in parts)
    ended = [name for name, process in processes.items() if not process.is_running()]
    return Measured(capacity, soak, then, before, overload, after, usage, ended)


def _capacity(client: Generator, target: Target, seconds: int) -> float:
    client.in_turn(target, _CONNECTIONS, seconds / 4).result()
    return client.in_turn(target, _CONNECTIONS, seconds).result().least_rate(200, seconds)


def grown(measured: Measured) -> dict[str, dict[str, Growth]]:
    """Growth of memory in MB and of open files, by process. A process that died is missing."""
    return {
        name: {
            "memory": growth(own.seconds, own.memory),
            "files": growth(own.seconds, own.files),
        }
        for name, own in measured.usage.items()
        if name not in measured.ended
    }


def judge(measured: Measured) -> list[Promise]:
    """Every promise, held or not."""
    soak, overload = measured.soak, measured.overload
    failed = int((soak.status != 200).sum())
    refused = overload.status == 503
    odd = int(((overload.status != 200) & ~(refused & overload.retry_after)).sum())
    accepted = int((overload.status == 200).sum())
    before, during = measured.before.quantile(200, 0.99), overload.quantile(200, 0.99)
    refusal = overload.quantile(503, 0.99)
    result = [
        Promise(
            "soak: every request is answered with 200",
            failed == 0,
            f"{failed} of {len(soak.status):,} are not",
        ),
        Promise("no process dies", not measured.ended, ", ".join(measured.ended) or "none did"),
    ]
    for kind, unit, most in (("memory", "MB", MOST_MEMORY_MB), ("files", "files", MOST_FILES)):
        for name, own in grown(measured).items():
            found = own[kind]
            text = (
                f"soak: {kind} of {name} do not grow"
                if kind == "files"
                else f"soak: memory of {name} does not grow"
            )
            interval = f"{found.value:+.2f} {unit} (95% {found.low:+.2f} to {found.high:+.2f})"
            result.append(Promise(text, found.low <= most, interval))
    return [
        *result,
        Promise(
            "overload: each answer is 200, or 503 with Retry-After",
            odd == 0,
            f"{odd} of {len(overload.status):,} are not",
        ),
        Promise(
            f"overload: the excess is refused, with a p99 of at most {MOST_REFUSAL_MS:g} ms",
            bool(refused.any()) and refusal <= MOST_REFUSAL_MS,
            f"{int(refused.sum()):,} refused, p99 {refusal:.1f} ms",
        ),
        Promise(
            f"overload: the accepted's p99 is at most {MOST_P99_RATIO:g} x that of the minute before",
            during <= MOST_P99_RATIO * before,
            f"{accepted:,} accepted, p99 {during:.1f} against {before:.1f} ms: {during / before:.2f} x",
        ),
    ]


def summary(measured: Measured, plan: Plan, promises: list[Promise]) -> dict[str, object]:
    """What soak.json holds."""
    parts = {
        "soak": measured.soak,
        "before": measured.before,
        "overload": measured.overload,
        "after": measured.after,
    }
    return {
        "machine": machine(),
        "model": {"trees": TREES, "leaves": LEAVES},
        "plan": asdict(plan),
        "capacity_per_second": measured.capacity,
        "capacity_before_overload_per_second": measured.capacity_then,
        **{name: _described(answers) for name, answers in parts.items()},
        "growth": {
            name: {kind: asdict(found) for kind, found in own.items()}
            for name, own in grown(measured).items()
        },
        "promises": [asdict(promise) for promise in promises],
    }


def _described(answers: Answers) -> dict[str, object]:
    statuses = sorted({int(status) for status in answers.status})
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
    return {
        "requests": len(answers.status),
        "seconds": answers.seconds,
        "sent_late_ms_p99": float(sorted(answers.late_ms)[int(0.99 * (len(answers.late_ms) - 1))]),
        "by_status": {
            str(status): {
                "requests": int((answers.status == status).sum()),
                "latency_ms": {
                    name: answers.quantile(status, share) for name, share in shares.items()
                },
            }
            for status in statuses
        },
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, judge, write; exit 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--quick", action="store_true", help="two minutes, not a quarter of an hour"
    )
    parser.add_argument("--output", type=Path, default=Path("build/soak"), metavar="DIR")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    output: Path = arguments.output
    measured = measure(plan)
    promises = judge(measured)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "soak.json", summary(measured, plan, promises))
    overload = in_a_row([measured.before, measured.overload, measured.after])
    draw(measured.soak, overload, measured.usage, output / "soak.png")
    then = f"before the overload {measured.capacity_then:,.0f}"
    print(f"capacity {measured.capacity:,.0f} requests/s, {then}\n")
    print("| promise | held | found |\n|---|---|---|")
    for promise in promises:
        print(f"| {promise.text} | {'yes' if promise.held else 'NO'} | {promise.found} |")
    if broken := [promise.text for promise in promises if not promise.held]:
        sys.exit(f"error: not held: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
