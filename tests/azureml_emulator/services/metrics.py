"""Metrics of runs, as azureml-core logs and reads them. Plain numbers are MLflow's metrics as well, as on Azure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.azureml_emulator import runs, tracking
from tests.azureml_emulator.routing import Call, Refused, Routes

if TYPE_CHECKING:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

routes = Routes()

_METRICS = "/metric/v2.0{ws}/runs/{run}"
_TABLE = "metrics"
_SCALAR = "azureml.v1.scalar"


@routes.add("POST", _METRICS + "/batch")
async def log(call: Call) -> dict[str, Any]:
    """Log values."""
    run_id = runs.get(call.workspace, call.match["run"])["runId"]
    table = call.workspace.table(_TABLE)
    numbers = []
    for item in call.json.get("values") or []:
        if _is_number(item):
            numbers.append(item)
        else:
            # Tables, images, ... are the run history's alone.
            known = table.get(f"{run_id}/{item['name']}") or {**item, "value": []}
            table[f"{run_id}/{item['name']}"] = {
                **known,
                "value": [*known["value"], *item["value"]],
            }
    await tracking.in_store(
        call.context, call.workspace, lambda store: _log_numbers(store, run_id, numbers)
    )
    return {}


@routes.add("POST", _METRICS + "/list")
async def list_metrics(call: Call) -> dict[str, Any]:
    """The names of a run's metrics."""
    found = await _all(call)
    return {"value": [_described(item) for item in found.values()], "continuationToken": None}


@routes.add("POST", _METRICS + "/lastvalues")
async def last_values(call: Call) -> dict[str, Any]:
    """The newest value of each metric of a run."""
    found = await _all(call)
    return {
        "value": [{**_described(item), "value": item["value"][-1:]} for item in found.values()],
        "continuationToken": None,
    }


@routes.add("POST", _METRICS + "/full")
async def full(call: Call) -> dict[str, Any]:
    """Every value of one metric."""
    name = call.json.get("metricName") or call.json.get("name")
    found = (await _all(call)).get(name)
    if found is None:
        raise Refused(404, "UserError", f"Metric {name} was not found.")
    return {**_described(found), "value": found["value"], "continuationToken": None}


@routes.add("GET", "/history/v1.0{ws}/experiments/{experiment}/runs/{run}/metricsingest/wait")
async def wait(call: Call) -> dict[str, Any]:
    """Whether all that was logged can be read: at once."""
    runs.get(call.workspace, call.match["run"])
    return {}


async def _all(call: Call) -> dict[str, dict[str, Any]]:
    run_id = runs.get(call.workspace, call.match["run"])["runId"]
    table = call.workspace.table(_TABLE)
    prefix = f"{run_id}/"
    kept = {key.removeprefix(prefix): table[key] for key in table if key.startswith(prefix)}
    numbers = await tracking.in_store(
        call.context, call.workspace, lambda store: _numbers(store, run_id)
    )
    container = tracking.container(run_id)
    return {
        name: {**item, "dataContainerId": container} for name, item in {**numbers, **kept}.items()
    }


def _is_number(item: dict[str, Any]) -> bool:
    return item["properties"].get("uxMetricType") == _SCALAR and all(
        set(point["data"]) == {item["name"]}
        and isinstance(point["data"][item["name"]], int | float)
        for point in item["value"]
    )


def _log_numbers(store: SqlAlchemyStore, run_id: str, items: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    for item in items:
        name = item["name"]
        # A step tells values apart that were logged in the same millisecond.
        first = len(store.get_metric_history(run_id, name))
        for number, point in enumerate(item["value"], start=first):
            step = number if point.get("step") is None else point["step"]
            moment = _milliseconds(point["createdUtc"])
            store.log_metric(run_id, Metric(name, float(point["data"][name]), moment, step))


def _numbers(store: SqlAlchemyStore, run_id: str) -> dict[str, dict[str, Any]]:
    found = {}
    for name in store.get_run(run_id).data.metrics:
        points = sorted(
            store.get_metric_history(run_id, name), key=lambda point: (point.timestamp, point.step)
        )
        found[name] = {
            "name": name,
            "columns": {name: "Double"},
            "properties": {"uxMetricType": _SCALAR},
            "value": [
                {
                    "metricId": f"{name}-{number}",
                    "createdUtc": datetime.fromtimestamp(point.timestamp / 1000, UTC).isoformat(),
                    "step": point.step,
                    "data": {name: None if math.isnan(point.value) else point.value},
                }
                for number, point in enumerate(points)
            ],
        }
    return found


def _described(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataContainerId": item["dataContainerId"],
        "name": item["name"],
        "metricKey": {"name": item["name"], "namespace": "", "labels": {}},
        "columns": item["columns"],
        "properties": item["properties"],
        "namespace": "",
        "standardSchemaId": None,
    }


def _milliseconds(text: str) -> int:
    """A moment as the client writes it, in milliseconds since 1970."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp() * 1000)
