"""Envelopes as senders of Application Insights post them: read into records, or refused one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from ml_service.monitoring.telemetry import Event, Kind

_LONGEST_NAME = 512
_LONGEST_TEXT = 32768
_MOST_PROPERTIES = 200
_LEVELS = ("verbose", "information", "warning", "error", "critical")


class BadBody(Exception):
    """A body of which nothing can be read."""


class BadEnvelope(Exception):
    """One envelope that is refused; the others are not."""


def split(body: bytes) -> list[Any]:
    """The envelopes of a body: a JSON list, one JSON object, or one object a line.

    A line that is not JSON is given as text, which ``record`` refuses.

    Raises:
        BadBody: nothing of it is JSON.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        lines = [line for line in body.splitlines() if line.strip()]
        found = [_line(line) for line in lines]
        if not any(isinstance(envelope, dict) for envelope in found):
            raise BadBody("the body is neither a JSON list nor JSON objects by line") from None
        return found
    return content if isinstance(content, list) else [content]


def record(envelope: Any, key: str, arrived: datetime) -> Event:
    """The record that an envelope holds.

    Args:
        envelope: as it was sent.
        key: the instrumentation key that it has to name.
        arrived: now, UTC.

    Raises:
        BadEnvelope: says what is wrong with it.
    """
    if not isinstance(envelope, dict):
        raise BadEnvelope("an envelope is a JSON object")
    if str(envelope.get("iKey", "")).lower() != key:
        raise BadEnvelope("invalid instrumentation key")
    data = envelope.get("data")
    content = data.get("baseData") if isinstance(data, dict) else None
    read = _READERS.get(data.get("baseType", "")) if isinstance(data, dict) else None
    if read is None or not isinstance(content, dict):
        taken = ", ".join(_READERS)
        raise BadEnvelope(f"data needs a baseData, and a baseType out of {taken}")
    moment = _moment(envelope.get("time"))
    properties = _properties(content.get("properties"))
    tags = envelope.get("tags")
    operation = tags.get("ai.operation.id") if isinstance(tags, dict) else None
    if operation is not None:
        properties.setdefault("trace_id", str(operation))
    kind, name, more, measurements = read(content)
    if not name or len(name) > _LONGEST_NAME:
        raise BadEnvelope(f"a name has 1 to {_LONGEST_NAME} characters")
    return Event(kind, moment, name, {**properties, **more}, measurements, arrived)


_Read = tuple[Kind, str, dict[str, str], dict[str, float]]


def _event(content: Mapping[str, Any]) -> _Read:
    return Kind.EVENT, _text(content, "name"), {}, _figures(content.get("measurements") or {})


def _metric(content: Mapping[str, Any]) -> _Read:
    points = content.get("metrics")
    if not isinstance(points, list) or len(points) != 1 or not isinstance(points[0], dict):
        raise BadEnvelope("metrics is a list of one data point")
    point = points[0]
    value = _figure(point.get("value"), "value")
    figures = {
        "value": value,
        "count": _figure(1 if point.get("count") is None else point["count"], "count"),
        "minimum": _figure(value if point.get("min") is None else point["min"], "min"),
        "maximum": _figure(value if point.get("max") is None else point["max"], "max"),
    }
    if figures["count"] < 1:
        raise BadEnvelope("count of a data point is at least 1")
    return Kind.METRIC, _text(point, "name"), {}, figures


def _exception(content: Mapping[str, Any]) -> _Read:
    exceptions = content.get("exceptions")
    if not isinstance(exceptions, list) or not exceptions or not isinstance(exceptions[0], dict):
        raise BadEnvelope("exceptions is a list that is not empty")
    first = exceptions[0]
    stack = first.get("parsedStack")
    places = [place for place in stack if isinstance(place, dict)] if stack else []
    # The innermost place comes first; people read it last.
    lines = [
        f"{place.get('fileName')}:{place.get('line')} in {place.get('method')}"
        for place in reversed(places)
    ]
    more = {
        "message": str(first.get("message", ""))[:_LONGEST_TEXT],
        "traceback": "\n".join(lines)[-_LONGEST_TEXT:],
    }
    return Kind.EXCEPTION, _text(first, "typeName"), more, {}


def _message(content: Mapping[str, Any]) -> _Read:
    severity = content.get("severityLevel")
    level = severity if type(severity) is int and 0 <= severity < len(_LEVELS) else 1
    return Kind.MESSAGE, _LEVELS[level], {"message": _text(content, "message")[:_LONGEST_TEXT]}, {}


_READERS: dict[str, Callable[[Mapping[str, Any]], _Read]] = {
    "EventData": _event,
    "MetricData": _metric,
    "ExceptionData": _exception,
    "MessageData": _message,
}


def level_name(severity: int) -> str:
    """Application Insights' name of a severity from 0 to 4."""
    return _LEVELS[severity]


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadEnvelope("time is not ISO 8601") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _properties(content: Any) -> dict[str, str]:
    if content is None:
        return {}
    if not isinstance(content, dict) or len(content) > _MOST_PROPERTIES:
        raise BadEnvelope(f"properties is an object of at most {_MOST_PROPERTIES}")
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in content.items()
        if value is not None
    }


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str):
        raise BadEnvelope(f"{key} is not text")
    return value


def _figures(content: Any) -> dict[str, float]:
    if not isinstance(content, dict) or len(content) > _MOST_PROPERTIES:
        raise BadEnvelope(f"measurements is an object of at most {_MOST_PROPERTIES}")
    return {name: _figure(value, name) for name, value in content.items()}


def _figure(value: Any, name: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise BadEnvelope(f"{name} is not a number")
    return float(value)
