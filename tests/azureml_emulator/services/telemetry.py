"""Application Insights and Log Analytics of a workspace: resources, ingestion, and queries."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.azureml_emulator.context import GROUP, SUBSCRIPTION, Context, Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes
from tests.azureml_emulator.services import kql
from tests.azureml_emulator.services.kql_values import Problem, Row

PROVIDERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
FILE = "telemetry.jsonl"

_PATTERN = "/subscriptions/{subscription}/resourceGroups/{group}/providers"
_STANDARD = {"TimeGenerated": "datetime", "_TimeReceived": "datetime", "_ResourceId": "string"}
_COMMON = {
    **_STANDARD,
    "Properties": "dynamic",
    "OperationId": "string",
    "AppRoleName": "string",
    "AppRoleInstance": "string",
    "ItemCount": "int",
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "AppEvents": {**_COMMON, "Name": "string", "Measurements": "dynamic"},
    "AppMetrics": {**_COMMON, "Name": "string", "Sum": "real", "Min": "real", "Max": "real"},
    "AppExceptions": {
        **_COMMON,
        "ExceptionType": "string",
        "OuterMessage": "string",
        "Details": "dynamic",
        "SeverityLevel": "int",
    },
    "AppTraces": {**_COMMON, "Message": "string", "SeverityLevel": "int"},
}
_LARGEST = 16 * 2**20

routes = Routes()


def component_id(workspace: Workspace) -> str:
    """Resource id of the workspace's Application Insights component."""
    return f"{PROVIDERS}/Microsoft.Insights/components/{workspace.name}"


def customer_id(workspace: Workspace) -> str:
    """GUID of the Log Analytics workspace, which queries name."""
    return _guid(workspace, "logs")


def connection_string(context: Context, workspace: Workspace) -> str:
    """What senders are given. The address is that of the HTTP listener, whose certificate nobody has to know."""
    return f"InstrumentationKey={_guid(workspace, 'key')};IngestionEndpoint={context.serving_url}/"


def attach(application: web.Application, context: Context) -> None:
    """Take telemetry on the HTTP listener."""

    async def track(request: web.Request) -> web.Response:
        return await _track(context, request)

    for path in ("/v2.1/track", "/v2/track", "//v2.1/track", "//v2/track"):
        application.router.add_post(path, track)


@routes.add("GET", _PATTERN + "/Microsoft.Insights/components/{name}")
async def component(call: Call) -> dict[str, Any]:
    """An Application Insights component."""
    workspace = _named(call)
    return {
        "id": component_id(workspace),
        "name": workspace.name,
        "type": "microsoft.insights/components",
        "location": "local",
        "kind": "web",
        "properties": {
            "ApplicationId": workspace.name,
            "AppId": _guid(workspace, "app"),
            "Application_Type": "web",
            "InstrumentationKey": _guid(workspace, "key"),
            "ConnectionString": connection_string(call.context, workspace),
            "IngestionMode": "LogAnalytics",
            "WorkspaceResourceId": _logs_id(workspace),
            "RetentionInDays": 90,
            "provisioningState": "Succeeded",
        },
    }


@routes.add("GET", _PATTERN + "/Microsoft.OperationalInsights/workspaces/{name}")
async def logs(call: Call) -> dict[str, Any]:
    """The Log Analytics workspace that a component writes to."""
    workspace = _named(call)
    return {
        "id": _logs_id(workspace),
        "name": workspace.name,
        "type": "Microsoft.OperationalInsights/workspaces",
        "location": "local",
        "properties": {
            "customerId": customer_id(workspace),
            "provisioningState": "Succeeded",
            "retentionInDays": 90,
        },
    }


@routes.add("POST", "/v1/workspaces/{logs}/query")
async def query(call: Call) -> Any:
    """Answer a query in the Kusto Query Language."""
    workspace = next(
        (
            found
            for name in call.context.store.table("", "workspaces")
            if (found := call.context.workspace(name))
            and _guid(found, "logs") == call.match["logs"]
        ),
        None,
    )
    if workspace is None:
        message = "The workspace could not be found"
        return Answer(404, {"error": {"code": "WorkspaceNotFoundError", "message": message}})
    now = datetime.fromtimestamp(call.context.clock.seconds(), UTC)
    try:
        tables = _tables(workspace, _span(call.json.get("timespan")))
        result = kql.run(str(call.json.get("query", "")), tables, now)
    except Problem as problem:
        inner = {"code": problem.code, "message": str(problem)}
        message = "The request had some invalid properties"
        error = {"code": "BadArgumentError", "message": message, "innererror": inner}
        return Answer(400, {"error": error})
    columns = [{"name": name, "type": kind} for name, kind in result.columns.items()]
    rows = [
        [_shown(row.get(name), kind) for name, kind in result.columns.items()]
        for row in result.rows
    ]
    return {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]}


async def _track(context: Context, request: web.Request) -> web.Response:
    body = await request.read()
    try:
        text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        content = json.loads(text) if text.lstrip()[:1] == b"[" else _lines(text)
    except (ValueError, OSError, EOFError) as error:
        content = {"itemsReceived": 0, "itemsAccepted": 0, "errors": [_error(0, str(error))]}
        return web.json_response(content, status=400)
    keys = {
        _guid(workspace, "key"): workspace
        for name in context.store.table("", "workspaces")
        if (workspace := context.workspace(name))
    }
    arrived = datetime.fromtimestamp(context.clock.seconds(), UTC).isoformat()
    errors = []
    for index, envelope in enumerate(content):
        try:
            workspace = keys[envelope["iKey"]]
            kept = _row(envelope, arrived, component_id(workspace))
        except KeyError as error:
            errors.append(_error(index, f"missing or unknown: {error}"))
        except (TypeError, ValueError, AttributeError) as error:
            errors.append(_error(index, str(error)))
        else:
            workspace.folder.mkdir(parents=True, exist_ok=True)
            with (workspace.folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept) + "\n")
    good = len(content) - len(errors)
    status = 200 if not errors else 206 if good else 400
    answer = {"itemsReceived": len(content), "itemsAccepted": good, "errors": errors}
    return web.json_response(answer, status=status)


def _row(envelope: Mapping[str, Any], arrived: str, resource: str) -> dict[str, Any]:
    data, tags = envelope["data"], envelope.get("tags") or {}
    content = data["baseData"]
    datetime.fromisoformat(envelope["time"])
    row = {
        "TimeGenerated": envelope["time"],
        "_TimeReceived": arrived,
        "_ResourceId": resource.lower(),
        "Properties": {**(content.get("properties") or {})},
        "OperationId": tags.get("ai.operation.id", ""),
        "AppRoleName": tags.get("ai.cloud.role", ""),
        "AppRoleInstance": tags.get("ai.cloud.roleInstance", ""),
        "ItemCount": 1,
    }
    if data["baseType"] == "EventData":
        own = {
            "table": "AppEvents",
            "Name": content["name"],
            "Measurements": content.get("measurements") or {},
        }
    elif data["baseType"] == "MetricData":
        [point] = content["metrics"]
        value = float(point["value"])
        if not math.isfinite(value):
            raise ValueError("a metric's value is no number")
        own = {
            "table": "AppMetrics",
            "Name": point["name"],
            "Sum": value,
            "ItemCount": point.get("count") or 1,
            "Min": value if point.get("min") is None else point["min"],
            "Max": value if point.get("max") is None else point["max"],
        }
    elif data["baseType"] == "ExceptionData":
        first = content["exceptions"][0]
        own = {
            "table": "AppExceptions",
            "ExceptionType": first["typeName"],
            "OuterMessage": first["message"],
            "Details": content["exceptions"],
            "SeverityLevel": content.get("severityLevel"),
        }
    elif data["baseType"] == "MessageData":
        own = {
            "table": "AppTraces",
            "Message": content["message"],
            "SeverityLevel": content.get("severityLevel", 1),
        }
    else:
        raise ValueError(f"unknown baseType {data['baseType']!r}")
    return {**row, **own}


def _tables(workspace: Workspace, span: tuple[datetime, datetime] | None) -> dict[str, kql.Table]:
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    for row in _kept(workspace):
        if span is None or span[0] <= row["TimeGenerated"] <= span[1]:
            rows[row["table"]].append(row)
    return {name: kql.Table(columns, rows[name]) for name, columns in TABLES.items()}


def _kept(workspace: Workspace) -> Iterator[dict[str, Any]]:
    file = workspace.folder / FILE
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for name in ("TimeGenerated", "_TimeReceived"):
            row[name] = datetime.fromisoformat(row[name]).astimezone(UTC)
        yield row


def _span(text: str | None) -> tuple[datetime, datetime] | None:
    if not text:
        return None
    start, _, end = text.partition("/")
    try:
        return datetime.fromisoformat(start), datetime.fromisoformat(end)
    except ValueError:
        raise Problem("SyntaxError", f"timespan {text!r} is not START/END") from None


def _shown(value: Any, kind: str) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    # Columns of type dynamic are sent as text.
    return json.dumps(value) if kind == "dynamic" and value is not None else value


def _lines(text: bytes) -> list[Any]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _error(index: int, message: str) -> dict[str, Any]:
    return {"index": index, "statusCode": 400, "message": message}


def _named(call: Call) -> Workspace:
    found = call.context.workspace(call.match["name"])
    if found is None:
        raise Refused(404, "ResourceNotFound", f"The Resource '{call.path}' was not found.")
    return found


def _logs_id(workspace: Workspace) -> str:
    return f"{PROVIDERS}/Microsoft.OperationalInsights/workspaces/{workspace.name}"


def _guid(workspace: Workspace, of: str) -> str:
    return str(uuid.uuid5(uuid.UUID(workspace.id), of))
