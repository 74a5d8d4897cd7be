"""What drift and performance were found to be, as telemetry: dashboards and alerts read it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from insurance_claims import telemetry
from insurance_claims.monitoring.wire import MODEL_VERSION
from insurance_claims.parameters import MonitoringParameters
from ml_service.feedback.windows import Outcome, WindowReport
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind

DRIFT = "drift"
PERFORMANCE = "performance"
DRIFTED_FEATURES = "drifted_features"
"""Metric: how many features of a window have drifted."""

_FLUSH_SECONDS = 10.0


def tell(
    reports: Sequence[WindowReport],
    outcomes: Sequence[Outcome],
    limits: MonitoringParameters,
    home: Path,
) -> None:
    """Send events ``drift`` and ``performance`` and the metric ``drifted_features``.

    They go to where APPLICATIONINSIGHTS_CONNECTION_STRING says, else into the store of this machine.

    Args:
        reports: of windows.
        outcomes: over time.
        limits: by which they were judged: an event of performance says where its limits are.
        home: local state.
    """
    found = [*_drift(reports), *_performance(outcomes, limits)]
    emitter = telemetry.emitter("monitoring")
    if emitter is None:
        store = Store(folder_of(home))
        store.add(found)
        store.close()
        return
    for item in found:
        if item.kind is Kind.METRIC:
            emitter.metric(item.name, item.measurements["value"], item.properties)
        else:
            emitter.event(item.name, item.properties, item.measurements)
    emitter.flush(_FLUSH_SECONDS)


def _drift(reports: Sequence[WindowReport]) -> Iterator[Event]:
    for report in reports:
        about = {MODEL_VERSION: str(report.version), **_between(report.since, report.until)}
        for item in report.features:
            figures = {
                "psi": item.psi.value,
                "expected_psi": item.psi.expected,
                "missing_share": item.reference_missing + item.missing.value,
                "reference_missing_share": item.reference_missing,
                "new_values": item.new_values,
                "p_value": item.p_value,
                "rows": float(report.rows),
            }
            if item.ks is not None:
                figures |= {"ks": item.ks.value, "expected_ks": item.ks.expected}
            properties = {**about, "feature": item.feature, "drifted": str(item.drifted).lower()}
            yield _event(DRIFT, properties, figures)
        if report.features:
            count = float(len(report.drifted))
            figures = {"value": count, "count": 1.0, "minimum": count, "maximum": count}
            yield _event(DRIFTED_FEATURES, about, figures, Kind.METRIC)


def _performance(outcomes: Sequence[Outcome], limits: MonitoringParameters) -> Iterator[Event]:
    for item in outcomes:
        found = item.performance
        figures = {
            "rows": float(found.rows),
            "claims": float(found.claims),
            "predicted": found.predicted,
            "observed": found.observed,
            "calibration_error": found.calibration_error,
            "calibration_by_chance": found.calibration_by_chance,
            "calibration_limit": found.calibration_by_chance + limits.calibration_error,
        }
        if found.gini is not None:
            figures |= {
                "gini": found.gini.value,
                "gini_low": found.gini.low,
                "gini_high": found.gini.high,
            }
        if item.gini_before is not None:
            figures |= {
                "gini_before": item.gini_before,
                "gini_limit": item.gini_before - limits.gini_loss,
            }
        if found.lift:
            figures["lift"] = found.lift[0]
        about = {MODEL_VERSION: str(item.version), **_between(item.since, item.until)}
        yield _event(PERFORMANCE, about, figures)


def _between(since: datetime, until: datetime) -> dict[str, str]:
    return {"since": since.isoformat(), "until": until.isoformat()}


def _event(
    name: str,
    properties: Mapping[str, str],
    measurements: Mapping[str, float],
    kind: Kind = Kind.EVENT,
) -> Event:
    identity = {telemetry.ITEM_ID: uuid.uuid4().hex}
    return Event(kind, datetime.now(UTC), name, {**properties, **identity}, measurements)
