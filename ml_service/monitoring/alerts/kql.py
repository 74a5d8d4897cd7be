"""What an alert computes, as a query of Log Analytics: a row for each window and key, with its ``value``."""

from __future__ import annotations

from ml_service.monitoring.alerts.definitions import Alert
from ml_service.monitoring.log_analytics import literal, property_text

_METRIC = {
    "sum": "value = sum(Sum)",
    "mean": "value = sum(Sum) / sum(ItemCount)",
    "least": "value = min(Min)",
    "most": "value = max(Max)",
}
_MEASUREMENT = {
    "sum": "value = sum(figure)",
    "mean": "value = avg(figure)",
    "least": "value = min(figure)",
    "most": "value = max(figure)",
}


def query(alert: Alert) -> str:
    """The query of an alert.

    Args:
        alert: what is watched.
    """
    groups = f"bin(TimeGenerated, {alert.window_minutes}m)"
    if alert.by:
        groups = f"key, {groups}"
    return "\n| ".join(
        [
            "AppEvents" if alert.event is not None else "AppMetrics",
            *_selection(alert),
            *([f"extend key = {property_text(alert.by)}"] if alert.by else []),
            *_values(alert, groups),
        ]
    )


def _selection(alert: Alert) -> list[str]:
    if alert.per is None:
        lines = [f"where Name == {literal(alert.metric or alert.event or '')}"]
    else:
        lines = [f"where Name in ({literal(alert.metric or '')}, {literal(alert.per)})"]
    return [
        *lines,
        *(f"where {property_text(key)} == {literal(value)}" for key, value in alert.where.items()),
    ]


def _values(alert: Alert, groups: str) -> list[str]:
    if alert.statistic == "count":
        return [f"summarize value = count() by {groups}"]
    if alert.measurement:
        figure = f"todouble(Measurements[{literal(alert.measurement)}])"
        return [
            f"extend figure = {figure}",
            f"summarize {_MEASUREMENT[alert.statistic]} by {groups}",
        ]
    if alert.per is None:
        return [f"summarize {_METRIC[alert.statistic]} by {groups}"]
    part = f"part = sumif(Sum, Name == {literal(alert.metric or '')})"
    whole = f"whole = sumif(Sum, Name == {literal(alert.per)})"
    return [
        f"summarize {part}, {whole} by {groups}",
        f"where whole > 0 and whole >= {alert.at_least:g}",
        "extend value = part / whole",
    ]
