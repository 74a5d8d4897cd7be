"""Telemetry as steps and scoring servers would have sent it: two versions in production, one in staging."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import Observations
from ml_service.monitoring.dashboard.panels import Mark, Operations
from ml_service.monitoring.telemetry import Event, Kind

PRODUCTION, CANARY = 3, 4
FEATURES = ("ps_car_13", "ps_reg_03", "ps_ind_03", "ps_car_11_cat", "ps_reg_02", "ps_ind_15")


def observations(
    time: datetime,
    version: int,
    seen: Observations,
    environment: str = "production",
    refused: Mapping[str, int] | None = None,
) -> Event:
    """One event of a scoring worker."""
    properties = {
        **wire.encode(seen),
        wire.MODEL_VERSION: str(version),
        wire.ENVIRONMENT: environment,
        "refused": json.dumps(refused or {}),
        "item_id": uuid.uuid4().hex,
    }
    return Event(Kind.EVENT, time, wire.EVENT, properties)


def metric(time: datetime, name: str, value: float, process: int) -> Event:
    """One value of a scoring worker."""
    figures = {"value": value, "count": 1.0, "minimum": value, "maximum": value}
    return Event(Kind.METRIC, time, name, {"process": str(process)}, figures)


def event(
    time: datetime, name: str, figures: Mapping[str, float] | None = None, /, **said: str
) -> Event:
    """An event of any name."""
    return Event(Kind.EVENT, time, name, said, figures or {})


def traffic(
    since: datetime, until: datetime, every: timedelta, canary_since: datetime
) -> Iterator[Event]:
    """Requests to a version in production, of which a slower canary with higher scores gets some after a while."""
    generator = np.random.default_rng(7)
    hour = timedelta(hours=1)
    time = since
    while time < until:
        load = every.total_seconds() * (
            8 + 5 * math.sin(2 * math.pi * (time.hour + time.minute / 60) / 24)
        )
        share = 0.0 if time < canary_since else 0.1 if time < canary_since + hour else 0.5
        for version, part, slowness, level in (
            (PRODUCTION, 1 - share, 1.0, 0.034),
            (CANARY, share, 1.3, 0.039),
        ):
            if part == 0:
                continue
            requests = generator.poisson(load * part)
            latencies = slowness * generator.lognormal(1.2, 0.5, requests)
            scores = generator.beta(4, 4 / level - 4, requests * 2)
            errors = int(generator.binomial(requests, 0.004 if version == CANARY else 0.001))
            refused = int(generator.binomial(requests, 0.01))
            why = {"column ps_car_13": refused, "row": int(generator.binomial(requests, 0.003))}
            yield observations(
                time, version, Observations.of(latencies, scores, errors), refused=why
            )
        for process, busy in ((4711, 1.0), (4712, 0.8)):
            cpu = min(100.0, busy * load / every.total_seconds() * 4 + generator.normal(0, 3))
            yield metric(time, "process_cpu_percent", max(cpu, 0.0), process)
            yield metric(
                time, "process_memory_mb", 180 + 6 * busy + generator.normal(0, 2), process
            )
        time += every


def training(begun: datetime, run: str, failed: bool = False) -> Iterator[Event]:
    """A run of the training pipeline."""
    said = {"pipeline_run_id": run, "trace_id": run * 2}
    time = begun
    for step, seconds in (("prepare", 4.0), ("train", 31.0), ("evaluate", 6.0), ("register", 2.0)):
        yield event(time, "step_started", step=step, **said)
        time += timedelta(seconds=seconds)
        outcome = "failed" if failed and step == "train" else "completed"
        if outcome == "failed":
            message = {"message": "column ps_ind_01 is gone", "step": step, **said}
            yield Event(Kind.EXCEPTION, time, "ValidationError", message)
        figures = {"seconds": seconds, "peak_memory_mb": 300 + 4 * seconds, "rows": 100_000.0}
        yield event(time, "step_ended", figures, step=step, outcome=outcome, **said)
        if outcome == "failed":
            return


def drift(time: datetime) -> Iterator[Event]:
    """What was computed of a window."""
    for number, feature in enumerate(FEATURES):
        figures = {
            "psi": 0.31 / (number + 1) ** 1.3,
            "ks": 0.2 / (number + 1),
            "expected_psi": 0.012,
        }
        yield event(time, "drift", figures, feature=feature, model_version=str(PRODUCTION))


def judged(
    time: datetime,
    version: int,
    since: datetime,
    until: datetime,
    gini: float,
    before: float = 0.27,
) -> Event:
    """What was said at a moment of the rows of a stretch, whose claims are known."""
    lost = max(before - gini, 0.0)
    figures = {
        **{"rows": 12_000.0, "claims": 440.0, "lift": 1 + 5 * gini},
        **{"gini": gini, "gini_low": gini - 0.05, "gini_high": gini + 0.05},
        **{"gini_before": before, "gini_limit": before - 0.05},
        **{"calibration_error": 0.004 + lost / 5, "calibration_by_chance": 0.005},
        "calibration_limit": 0.015,
    }
    said = {"model_version": str(version), "since": since.isoformat(), "until": until.isoformat()}
    return event(time, "performance", figures, **said)


def performance(now: datetime, length: timedelta) -> Iterator[Event]:
    """A version whose customers change, and the canary that was trained on them."""
    stretch = length / 6
    ginis = {PRODUCTION: (0.262, 0.271, 0.255, 0.243, 0.198, 0.182), CANARY: (0.274, 0.281)}
    for version, values in ginis.items():
        for number, gini in enumerate(values, 6 - len(values)):
            since = now - length + number * stretch
            yield judged(now, version, since, since + stretch * 0.98, gini)


def alerts(time: datetime) -> Iterator[Event]:
    """One that was resolved, and one that stands."""
    for minutes, name, key, state, severity, reason in (
        (0, "scoring-errors", "4", "fired", "1", "errors / requests 0.031 above 0.02"),
        (12, "scoring-errors", "4", "resolved", "1", "errors / requests 0.004"),
        (20, "drift", "ps_car_13", "fired", "3", "psi 0.31 above 0.25"),
    ):
        moment = time + timedelta(minutes=minutes)
        yield event(
            moment, "alert", name=name, key=key, state=state, severity=severity, reason=reason
        )


def everything(now: datetime, length: timedelta, every: timedelta) -> Sequence[Event]:
    """All of it, for a stretch of time that ends now."""
    since, canary = now - length, now - length / 3
    return [
        *traffic(since, now, every, canary),
        observations(now - length / 2, PRODUCTION, Observations.of([4.0], [0.03]), "staging"),
        *training(now - length * 0.8, "f00d00000001"),
        *training(now - length * 0.6, "f00d00000002", failed=True),
        *training(now - length * 0.45, "f00d00000003"),
        *drift(now - length / 10),
        *performance(now, length),
        *alerts(now - length / 2),
    ]


def operations(now: datetime, length: timedelta) -> Operations:
    """A canary that was begun beside the version in production."""
    begun = now - length / 3
    marks = [
        Mark(now - length * 0.9, "production", "deployed", str(PRODUCTION), "someone", "first"),
        Mark(begun, "production", "rollout begun", str(CANARY), "someone", "promoted by the gate"),
        Mark(begun, "staging", "deployed", str(CANARY), "someone", "tried there first"),
    ]
    figures = [
        {"name": "requests", "production": "9,120", "canary": "1,013", "compared": "", "limit": "500 or more"},
        {"name": "latency p95 ratio", "production": "7.8 ms (7.6 to 8.1)", "canary": "10.1 ms (9.5 to 10.9)",
         "compared": "1.29 (1.20 to 1.40)", "limit": "1.5 or less"},
    ]  # fmt: skip
    rollout = {
        "environment": "production",
        "title": "production: version 3 to 4: stage 2 of 3 (50%), undecided after 1,013 requests",
        "production": PRODUCTION,
        "canary": CANARY,
        "active": True,
        "figures": figures,
    }
    return Operations(lambda: marks, lambda: [rollout])
