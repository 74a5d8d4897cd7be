"""Runs of pipelines, put together from what their steps sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from insurance_claims.monitoring.step_report import ENDED, STARTED
from ml_service.monitoring.dashboard.span import Span, milliseconds
from ml_service.monitoring.telemetry import Event, Kind, Telemetry

RUNNING = timedelta(hours=1)
"""A step without an end is taken for running for so long; after it, nothing more is expected of it."""

_FIGURES = ("seconds", "peak_memory_mb", "gpu_percent", "gpu_memory_mb", "rows", "warnings")
_WORST = ("failed", "interrupted", "no end", "running", "completed")


def training(telemetry: Telemetry, span: Span) -> Sequence[dict[str, Any]]:
    """The runs with a step that began or ended in a span, newest first.

    Returns:
        Of each: ``id``, ``started`` in milliseconds since 1970, ``seconds`` from its first step to its last, ``steps``
        and ``outcome``: completed, failed, interrupted, running, or "no end": a step said that it began, and nothing
        since. A failed step has the ``error`` that ended it.
    """
    runs: dict[str, dict[str, dict[str, Any]]] = {}
    for event in telemetry.events(STARTED, span.since, span.until):
        _step(runs, event)["started"] = event.time
    for event in telemetry.events(ENDED, span.since, span.until):
        step = _step(runs, event)
        figures = {name: event.measurements.get(name) for name in _FIGURES}
        began = event.time - timedelta(seconds=figures["seconds"] or 0.0)
        step.update(figures, ended=event.time, outcome=event.properties.get("outcome", "completed"))
        step.setdefault("started", began)
    found = [_run(telemetry, run_id, list(steps.values()), span) for run_id, steps in runs.items()]
    return sorted(found, key=lambda run: run["started"], reverse=True)


def _step(runs: dict[str, dict[str, dict[str, Any]]], event: Event) -> dict[str, Any]:
    said = event.properties
    name = said.get("step", "")
    trace_id = said.get("trace_id", "")
    step = {"name": name, "trace_id": trace_id}
    return runs.setdefault(said.get("pipeline_run_id") or trace_id, {}).setdefault(name, step)


def _run(
    telemetry: Telemetry, run_id: str, steps: list[dict[str, Any]], span: Span
) -> dict[str, Any]:
    for step in steps:
        if "outcome" not in step:
            recent = span.until - step["started"] < RUNNING
            step["outcome"] = "running" if recent else "no end"
        if step["outcome"] == "failed":
            step["error"] = _error(telemetry, step)
    steps.sort(key=lambda step: step["started"])
    outcomes = {step["outcome"] for step in steps}
    ends = [step["ended"] for step in steps if "ended" in step]
    started: datetime = steps[0]["started"]
    return {
        "id": run_id,
        "started": milliseconds(started),
        "seconds": (max(ends) - started).total_seconds() if ends else None,
        "outcome": next(outcome for outcome in _WORST if outcome in outcomes),
        "steps": [
            {
                key: value
                for key, value in step.items()
                if key not in ("started", "ended", "trace_id")
            }
            for step in steps
        ],
    }


def _error(telemetry: Telemetry, step: dict[str, Any]) -> str:
    found = telemetry.records(
        Kind.EXCEPTION,
        step["started"] - timedelta(minutes=1),
        step["ended"] + timedelta(minutes=1),
        where={"trace_id": step["trace_id"]},
    )
    for event in found:
        if event.properties.get("step") == step["name"]:
            return f"{event.name}: {event.properties.get('message', '')}"
    return ""
