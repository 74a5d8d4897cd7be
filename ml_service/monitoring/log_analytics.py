"""Telemetry read back from Log Analytics, where a workspace-based Application Insights keeps it.

The one module here that knows Azure, imported where a query is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_service.monitoring.envelopes import level_name
from ml_service.monitoring.store import property_name
from ml_service.monitoring.telemetry import NOTHING, Event, Kind, Point, TelemetryError, once

PUBLIC = "https://api.loganalytics.io"

_PAGE = 5000
"""Rows of an answer. Log Analytics cuts answers off at 500,000 rows or 100 MB, and observations have up to 15 kB."""

_SECONDS = 120
_TABLES = {
    Kind.EVENT: ("AppEvents", "Name"),
    Kind.METRIC: ("AppMetrics", "Name"),
    Kind.EXCEPTION: ("AppExceptions", "ExceptionType"),
    Kind.MESSAGE: ("AppTraces", "SeverityLevel"),
}
_COLUMNS = {
    Kind.EVENT: "Name, Properties, Measurements",
    Kind.METRIC: "Name, Properties, Sum, ItemCount, Min, Max",
    Kind.EXCEPTION: "ExceptionType, Properties, OuterMessage, Details",
    Kind.MESSAGE: "SeverityLevel, Properties, Message",
}


def azure_telemetry(
    credential: Any, workspace_id: str, component_id: str | None = None, endpoint: str = PUBLIC
) -> LogAnalytics:
    """Telemetry of an Application Insights component.

    Args:
        credential: with ``get_token``, as of azure-identity.
        workspace_id: GUID of the Log Analytics workspace that the component writes to (its ``customerId``).
        component_id: resource id of the component; None reads all that write to the workspace.
        endpoint: of the query service in this cloud.

    Raises:
        TelemetryError: the package for it is not installed.
    """
    try:
        from azure.monitor.query import LogsQueryClient
    except ImportError:
        raise TelemetryError(
            "Log Analytics is read with azure-monitor-query: `make azure` installs it"
        ) from None
    address = endpoint.rstrip("/")
    client = LogsQueryClient(credential, endpoint=address)
    return LogAnalytics(client, workspace_id, component_id)


class LogAnalytics:
    """Reads telemetry through azure-monitor-query.

    Args:
        client: its ``LogsQueryClient``.
        workspace_id: GUID of the Log Analytics workspace.
        component_id: resource id of the one Application Insights component to read; None for all.
    """

    def __init__(self, client: Any, workspace_id: str, component_id: str | None = None) -> None:
        self._client = client
        self._workspace_id = workspace_id
        self._component_id = component_id

    def events(
        self,
        name: str,
        since: datetime,
        until: datetime | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Iterator[Event]:
        """See ``Telemetry``."""
        return self.records(Kind.EVENT, since, until, name, where)

    def records(
        self,
        kind: Kind,
        since: datetime,
        until: datetime | None = None,
        name: str | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Iterator[Event]:
        """See ``Telemetry``."""
        return once(self._pages(kind, since, until, name, where))

    def series(
        self,
        metric: str,
        since: datetime,
        until: datetime,
        step: timedelta,
        by: str | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Sequence[Point]:
        """See ``Telemetry``."""
        if step < timedelta(seconds=1):
            raise TelemetryError(f"a stretch of {step} is too short: take at least a second")
        key = '""' if by is None else property_text(by)
        lines = [
            *self._selection(Kind.METRIC, since, until, metric, where),
            f"extend key = {key}",
            "summarize count = sum(ItemCount), total = sum(Sum), low = min(Min), high = max(Max)"
            f" by stretch = bin(TimeGenerated, {step.total_seconds():g}s), key",
            "order by stretch asc, key asc",
            "project stretch, key, count, total, low, high",
        ]
        return [
            Point(_utc(stretch), key, int(count), float(total), float(low), float(high))
            for stretch, key, count, total, low, high in self._ask(lines, since, until)
        ]

    def _pages(
        self,
        kind: Kind,
        since: datetime,
        until: datetime | None,
        name: str | None,
        where: Mapping[str, str],
    ) -> Iterator[Event]:
        size = _PAGE
        while True:
            lines = [
                *self._selection(kind, since, until, name, where),
                f"project TimeGenerated, _TimeReceived, {_COLUMNS[kind]}",
                "order by TimeGenerated asc",
                f"take {size}",
            ]
            rows = self._ask(lines, since, until)
            if len(rows) < size:
                yield from (_event(kind, row) for row in rows)
                return
            last = _utc(rows[-1][0])
            # More rows of the last moment may be left, so all of them come with the next page.
            whole = [row for row in rows if _utc(row[0]) < last]
            yield from (_event(kind, row) for row in whole)
            since = last
            size = _PAGE if whole else 2 * size

    def _selection(
        self,
        kind: Kind,
        since: datetime,
        until: datetime | None,
        name: str | None,
        where: Mapping[str, str],
    ) -> list[str]:
        table, column = _TABLES[kind]
        lines = [table, f"where TimeGenerated >= {_moment(since)}"]
        if until is not None:
            lines.append(f"where TimeGenerated < {_moment(until)}")
        if self._component_id is not None:
            lines.append(f"where _ResourceId =~ {literal(self._component_id)}")
        if name is not None:
            value = str(_severity(name)) if kind is Kind.MESSAGE else literal(name)
            lines.append(f"where {column} == {value}")
        lines += [f"where {property_text(key)} == {literal(value)}" for key, value in where.items()]
        return lines

    def _ask(
        self, lines: Sequence[str], since: datetime, until: datetime | None
    ) -> list[Sequence[Any]]:
        from azure.core.exceptions import AzureError
        from azure.monitor.query import LogsQueryStatus

        query = "\n| ".join(lines)
        # The service prunes by it, so it has to be at least as wide as the query; a sender's clock may be ahead.
        span = (since, max(until or since, datetime.now(UTC)) + timedelta(days=1))
        try:
            answer = self._client.query_workspace(
                self._workspace_id, query, timespan=span, server_timeout=_SECONDS
            )
        except AzureError as error:
            why = " ".join(str(error).split())
            raise TelemetryError(
                f"Log Analytics workspace {self._workspace_id} refuses a query: {why}. The login needs the role "
                "Log Analytics Reader there"
            ) from error
        if answer.status != LogsQueryStatus.SUCCESS:
            raise TelemetryError(
                f"Log Analytics answered in part only: {answer.partial_error}; ask for a shorter time"
            )
        return [list(row) for row in answer.tables[0].rows]


def literal(text: str) -> str:
    """A text as KQL's literal, so that nothing in it is taken for a query."""
    escaped = "".join(
        f"\\u{ord(letter):04x}"
        if ord(letter) < 32
        else f"\\{letter}"
        if letter in '\\"'
        else letter
        for letter in text
    )
    return f'"{escaped}"'


def property_text(name: str) -> str:
    """A property as text, in KQL."""
    return f"tostring(Properties[{literal(property_name(name))}])"


def _moment(moment: datetime) -> str:
    return f"datetime({moment.astimezone(UTC).isoformat().replace('+00:00', 'Z')})"


def _severity(name: str) -> int:
    for severity in range(5):
        if level_name(severity) == name:
            return severity
    raise TelemetryError(f"there is no level {name!r} of messages")


def _event(kind: Kind, row: Sequence[Any]) -> Event:
    time, arrived, name, properties, *rest = row
    texts = {
        # Log Analytics may have taken a property's JSON for structure.
        key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for key, value in _structure(properties).items()
    }
    figures: dict[str, float] = {}
    if kind is Kind.EVENT:
        figures = {key: float(value) for key, value in _structure(rest[0]).items()}
    elif kind is Kind.METRIC:
        names = ("value", "count", "minimum", "maximum")
        figures = {key: float(value) for key, value in zip(names, rest, strict=True)}
    elif kind is Kind.EXCEPTION:
        texts |= {"message": rest[0], "traceback": _stack(rest[1])}
    else:
        name = level_name(int(name))
        texts["message"] = rest[0]
    return Event(kind, _utc(time), name, texts, figures, _utc(arrived))


def _stack(details: Any) -> str:
    found = json.loads(details) if isinstance(details, str) and details else details
    places = found[0].get("parsedStack") or [] if found else []
    return "\n".join(
        f"{place.get('fileName')}:{place.get('line')} in {place.get('method')}"
        for place in reversed(places)
    )


def _structure(dynamic: Any) -> dict[str, Any]:
    # Columns of type dynamic come as text.
    found = json.loads(dynamic) if isinstance(dynamic, str) and dynamic else dynamic
    return found if isinstance(found, dict) else {}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
