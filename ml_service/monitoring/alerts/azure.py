"""Alerts and the dashboard as resources of Azure Monitor, in templates of their own.

An alert on one metric with one window is a metric alert, which costs less and fires sooner; all others are
scheduled queries. The workbook is for people who look at Azure's portal; `mlops monitor` shows more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ml_service.monitoring.alerts.definitions import Alert
from ml_service.monitoring.alerts.kql import query

NAMESPACE = "insurance_claims"
"""Of the metrics that steps and scoring send."""

_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_AGGREGATION = {"sum": "Total", "mean": "Average", "least": "Minimum", "most": "Maximum"}
_METRIC_WINDOWS = {1: "PT1M", 5: "PT5M", 15: "PT15M", 30: "PT30M", 60: "PT1H", 360: "PT6H"}
_MOST_MINUTES_BETWEEN_LOOKS = 60

_CHARTS = (
    ("Requests by model version", "timechart", "requests", "sum(Sum)"),
    ("Errors by model version", "timechart", "errors", "sum(Sum)"),
    ("Mean score by model version", "timechart", "score_mean", "sum(Sum) / sum(ItemCount)"),
    ("p95 of latency, ms", "timechart", "latency_p95_ms", "sum(Sum) / sum(ItemCount)"),
    ("Memory of scoring processes, MB", "timechart", "process_memory_mb", "max(Max)"),
    ("Processor time of scoring processes, %", "timechart", "process_cpu_percent", "max(Max)"),
)
_TABLES = (
    (
        "Steps of training",
        'AppEvents\n| where Name == "step_ended"\n| project TimeGenerated, step = tostring(Properties["step"]), '
        'outcome = tostring(Properties["outcome"]), seconds = todouble(Measurements["seconds"]), '
        'run = tostring(Properties["pipeline_run_id"])\n| order by TimeGenerated desc\n| take 100',
    ),
    (
        "Drift by feature",
        'AppEvents\n| where Name == "drift"\n| extend psi = todouble(Measurements["psi"])\n'
        '| summarize psi = max(psi) by feature = tostring(Properties["feature"])\n| order by psi desc\n| take 50',
    ),
    (
        "Exceptions",
        "AppExceptions\n| summarize count = count() by ExceptionType, OuterMessage\n| order by count desc\n| take 50",
    ),
)


def alerts_template(alerts: Sequence[Alert]) -> dict[str, Any]:
    """The template of the rules.

    Args:
        alerts: what is watched.
    """
    return _template(
        "Alerts. Made of ml_service/monitoring/alerts/alerts.yml by `python -m environment_setup.alerts`. Do not edit.",
        {
            "location": "Azure region.",
            "tags": "Tags of every resource.",
            "environment": "Goes into the names of the rules.",
            "logsId": "Log Analytics workspace that queries are put to.",
            "insightsId": "Application Insights that metrics are of.",
            "alertsId": "Action group that is told.",
        },
        [
            _metric_alert(alert) if is_metric_alert(alert) else _query_alert(alert)
            for alert in alerts
        ],
    )


def is_metric_alert(alert: Alert) -> bool:
    """Whether Azure Monitor can watch it as a metric, without a query."""
    return (
        alert.metric is not None
        and alert.per is None
        and alert.by is None
        and not alert.where
        and alert.of == 1
        and alert.window_minutes in _METRIC_WINDOWS
    )


def workbook_template() -> dict[str, Any]:
    """The template of the dashboard as a workbook."""
    content = {
        "version": "Notebook/1.0",
        "items": [
            {
                "type": 9,
                "name": "time",
                "content": {
                    "version": "KqlParameterItem/1.0",
                    "parameters": [
                        {
                            "id": "6f3e4a52-2f0d-4d26-9b7b-6a3b2f6f7f10",
                            "version": "KqlParameterItem/1.0",
                            "name": "TimeRange",
                            "label": "Time",
                            "type": 4,
                            "isRequired": True,
                            "value": {"durationMs": 86400000},
                            "typeSettings": {
                                "selectableValues": [
                                    {"durationMs": minutes * 60000}
                                    for minutes in (60, 240, 1440, 10080, 43200)
                                ]
                            },
                        }
                    ],
                    "style": "pills",
                    "queryType": 0,
                },
            },
            *(
                _workbook_item(title, chart_query(metric, value), chart)
                for title, chart, metric, value in _CHARTS
            ),
            *(_workbook_item(title, text, "table") for title, text in _TABLES),
        ],
        "fallbackResourceIds": ["Azure Monitor"],
    }
    workbook = {
        "type": "Microsoft.Insights/workbooks",
        "apiVersion": "2023-06-01",
        "name": "[guid(resourceGroup().id, 'insurance-claims-dashboard')]",
        "kind": "shared",
        "location": "[parameters('location')]",
        "tags": "[parameters('tags')]",
        "properties": {
            "displayName": "[format('Insurance claims {0}', parameters('environment'))]",
            "category": "workbook",
            "version": "Notebook/1.0",
            "serializedData": json.dumps(content, separators=(",", ":")),
            "sourceId": "[parameters('logsId')]",
        },
    }
    return _template(
        "The dashboard as a workbook. Made by `python -m environment_setup.alerts`. Do not edit.",
        {
            "location": "Azure region.",
            "tags": "Tags of every resource.",
            "environment": "Goes into the title.",
            "logsId": "Log Analytics workspace that queries are put to.",
        },
        [workbook],
    )


def chart_query(metric: str, value: str) -> str:
    """The query of a chart of the workbook: a metric over time, by model version."""
    return (
        f'AppMetrics\n| where Name == "{metric}"\n'
        '| extend version = tostring(Properties["model_version"])\n'
        f"| summarize value = {value} by version, bin(TimeGenerated, 5m)"
    )


def workbook_queries() -> list[str]:
    """Every query of the workbook."""
    charts = [chart_query(metric, value) for _, _, metric, value in _CHARTS]
    return [*charts, *(text for _, text in _TABLES)]


def _template(
    description: str, parameters: dict[str, str], resources: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "metadata": {"description": description},
        "parameters": {
            name: {
                "type": "object" if name == "tags" else "string",
                "metadata": {"description": text},
            }
            for name, text in parameters.items()
        },
        "resources": resources,
    }


def _common(alert: Alert) -> dict[str, Any]:
    return {
        "name": f"[format('{alert.name}-{{0}}', parameters('environment'))]",
        "tags": "[parameters('tags')]",
    }


def _text(alert: Alert) -> str:
    return f"{alert.meaning} {' '.join(alert.action.split())}"


def _operator(alert: Alert) -> str:
    return "GreaterThan" if alert.above is not None else "LessThan"


def _metric_alert(alert: Alert) -> dict[str, Any]:
    window = _METRIC_WINDOWS[alert.window_minutes]
    return {
        "type": "Microsoft.Insights/metricAlerts",
        "apiVersion": "2018-03-01",
        **_common(alert),
        "location": "global",
        "properties": {
            "description": _text(alert),
            "severity": alert.severity,
            "enabled": True,
            "scopes": ["[parameters('insightsId')]"],
            "evaluationFrequency": window if alert.window_minutes <= 5 else "PT5M",
            "windowSize": window,
            "autoMitigate": True,
            "criteria": {
                "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                "allOf": [
                    {
                        "criterionType": "StaticThresholdCriterion",
                        "name": alert.name,
                        "metricNamespace": NAMESPACE,
                        "metricName": alert.metric,
                        "operator": _operator(alert),
                        "threshold": alert.threshold,
                        "timeAggregation": _AGGREGATION[alert.statistic],
                        # The metric is not there before the first process sent it.
                        "skipMetricValidation": True,
                    }
                ],
            },
            "actions": [{"actionGroupId": "[parameters('alertsId')]"}],
        },
    }


def _query_alert(alert: Alert) -> dict[str, Any]:
    condition: dict[str, Any] = {
        "query": query(alert),
        "metricMeasureColumn": "value",
        "timeAggregation": "Maximum" if alert.above is not None else "Minimum",
        "operator": _operator(alert),
        "threshold": alert.threshold,
        "failingPeriods": {
            "numberOfEvaluationPeriods": alert.of,
            "minFailingPeriodsToAlert": alert.bad,
        },
    }
    if alert.by:
        condition["dimensions"] = [{"name": "key", "operator": "Include", "values": ["*"]}]
    between = min(alert.window_minutes, _MOST_MINUTES_BETWEEN_LOOKS)
    return {
        "type": "Microsoft.Insights/scheduledQueryRules",
        "apiVersion": "2023-12-01",
        **_common(alert),
        "location": "[parameters('location')]",
        "kind": "LogAlert",
        "properties": {
            "displayName": alert.name,
            "description": _text(alert),
            "severity": alert.severity,
            "enabled": True,
            "scopes": ["[parameters('logsId')]"],
            "evaluationFrequency": _duration(between),
            "windowSize": _duration(alert.window_minutes),
            "autoMitigate": True,
            # A new workspace has none of the tables yet.
            "skipQueryValidation": True,
            "criteria": {"allOf": [condition]},
            "actions": {"actionGroups": ["[parameters('alertsId')]"]},
        },
    }


def _duration(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f"P{minutes // 1440}D"
    return f"PT{minutes // 60}H" if minutes % 60 == 0 else f"PT{minutes}M"


def _workbook_item(title: str, text: str, chart: str) -> dict[str, Any]:
    return {
        "type": 3,
        "name": title,
        "content": {
            "version": "KqlItem/1.0",
            "title": title,
            "query": text,
            "size": 1,
            "timeContextFromParameter": "TimeRange",
            "queryType": 0,
            "resourceType": "microsoft.operationalinsights/workspaces",
            "visualization": chart,
        },
    }
