"""Run history: experiments and runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.azureml_emulator import runs, tracking
from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.odata import condition
from tests.azureml_emulator.routing import Call, Refused, Routes
from tests.azureml_emulator.server import sign

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

routes = Routes()

_HISTORY = "/history/v1.0{ws}"
_EXPERIMENT = "{experiment:[^/:]+}"
_RUN = (
    _HISTORY + "/runs/{run:[^/:]+}",
    _HISTORY + f"/experiments/{_EXPERIMENT}/runs/{{run:[^/:]+}}",
    _HISTORY + f"/experimentids/{_EXPERIMENT}/runs/{{run:[^/:]+}}",
)
_TOKEN_SECONDS = 3600
_EVENTS = {
    "Start": "Running",
    "Completed": "Completed",
    "Failed": "Failed",
    "CancelRequested": "CancelRequested",
    "Canceled": "Canceled",
}


@routes.add("GET", _HISTORY + f"/experiments/{_EXPERIMENT}")
async def get_experiment(call: Call) -> dict[str, Any]:
    """An experiment by name."""
    name = call.match["experiment"]
    found = await tracking.in_store(
        call.context, call.workspace, lambda store: store.get_experiment_by_name(name)
    )
    if found is None:
        raise Refused(404, "UserError", f"Experiment {name} was not found.")
    return _experiment(found)


@routes.add("POST", _HISTORY + f"/experiments/{_EXPERIMENT}")
async def make_experiment(call: Call) -> dict[str, Any]:
    """An experiment by name, made where there is none."""
    return _experiment(
        await runs.experiment(call.context, call.workspace, call.match["experiment"])
    )


@routes.add("GET", _HISTORY + f"/experimentids/{_EXPERIMENT}")
async def get_experiment_by_id(call: Call) -> dict[str, Any]:
    """An experiment by id."""
    return _experiment(await _by_id(call.context, call.workspace, call.match["experiment"]))


@routes.add("POST", _HISTORY + "/experiments:query")
async def query_experiments(call: Call) -> dict[str, Any]:
    """All experiments."""
    return {
        "value": [_experiment(found) for found in await _experiments(call.context, call.workspace)]
    }


@routes.add("GET", *_RUN)
async def get_run(call: Call) -> dict[str, Any]:
    """One run."""
    return runs.get(call.workspace, call.match["run"])


@routes.add("PATCH", *_RUN)
async def patch_run(call: Call) -> dict[str, Any]:
    """Change a run, or make one under an id that the client chose."""
    run_id = call.match["run"]
    content = {key: value for key, value in call.json.items() if value is not None}
    if run_id not in call.workspace.table(runs.TABLE):
        await runs.create_run(
            call.context,
            call.workspace,
            await _experiment_of(call),
            content.get("name") or run_id,
            run_type=content.get("runType") or "",
            parent=content.get("parentRunId"),
            run_id=run_id,
        )
    return await runs.update_run(call.context, call.workspace, run_id, **content)


@routes.add("DELETE", *(base + "/tags" for base in _RUN))
async def delete_tags(call: Call) -> dict[str, Any]:
    """Take tags from a run."""
    document = runs.get(call.workspace, call.match["run"])
    names = [name for name in call.json if name in document["tags"]]

    def delete(store: SqlAlchemyStore) -> None:
        for name in names:
            store.delete_tag(document["runId"], name)

    await tracking.in_store(call.context, call.workspace, delete)
    await runs.adopt(call.context, call.workspace, document["runId"], state=False)
    return runs.get(call.workspace, document["runId"])


@routes.add("GET", *(base + "/details" for base in _RUN))
async def details(call: Call) -> dict[str, Any]:
    """A run with its logs and what it was made from."""
    document = runs.get(call.workspace, call.match["run"])
    kept = ("runId", "target", "status", "startTimeUtc", "endTimeUtc", "error", "properties")
    return {
        **{key: document[key] for key in kept},
        "logFiles": document["logFiles"],
        "runDefinition": document.get("runDefinition"),
        "inputDatasets": document.get("inputDatasets", []),
        "outputDatasets": document.get("outputDatasets", []),
        "services": {},
        "warnings": [],
    }


@routes.add("GET", *(base + "/children" for base in _RUN))
async def children(call: Call) -> dict[str, Any]:
    """The runs that are a part of a run, newest first."""
    runs.get(call.workspace, call.match["run"])
    return {
        "value": [
            run for run in _newest_first(call.workspace) if run["parentRunId"] == call.match["run"]
        ]
    }


@routes.add("POST", _HISTORY + f"/experiments/{_EXPERIMENT}/runs:query")
async def query_runs(call: Call) -> dict[str, Any]:
    """The runs of an experiment that a filter lets through, newest first."""
    wanted = condition(call.json.get("filter") or "")
    name = call.match["experiment"]
    found = [run for run in _newest_first(call.workspace) if run["experimentName"] == name]
    top = int(call.json.get("top") or len(found))
    return {"value": [run for run in found if wanted(run)][:top]}


@routes.add("GET", *(base + "/token" for base in _RUN))
async def token(call: Call) -> dict[str, Any]:
    """A token for a run's job."""
    runs.get(call.workspace, call.match["run"])
    claims = {"oid": call.workspace.id, "runid": call.match["run"]}
    expiry = datetime.fromtimestamp(call.context.clock.seconds() + _TOKEN_SECONDS, UTC)
    return {
        "token": sign(call.context, claims, _TOKEN_SECONDS),
        "expiryTimeUtc": expiry.isoformat(),
    }


@routes.add("POST", *(base + "/events" for base in _RUN))
async def event(call: Call) -> dict[str, Any]:
    """A run says that it began, or how it ended."""
    await _happened(call.context, call.workspace, call.json)
    return {}


@routes.add("POST", _HISTORY + f"/experiments/{_EXPERIMENT}/batch/events")
async def events(call: Call) -> dict[str, Any]:
    """Several at once."""
    for item in call.json.get("events") or []:
        await _happened(call.context, call.workspace, item)
    return {"errors": {}}


async def _experiment_of(call: Call) -> str:
    """The name of the experiment that the path names, or has the id of."""
    given = call.match.get("experiment") or "Default"
    if "/experimentids/" in call.path.lower():
        given = (await _by_id(call.context, call.workspace, given)).name
    return given


async def _happened(context: Context, workspace: Workspace, content: dict[str, Any]) -> None:
    name = content["name"].rpartition(".")[2]
    run_id = content["data"]["RunId"]
    if name == "Error":
        await runs.update_run(context, workspace, run_id, error=content["data"]["ErrorResponse"])
    elif name in _EVENTS:
        await runs.update_run(context, workspace, run_id, status=_EVENTS[name])


def _newest_first(workspace: Workspace) -> list[dict[str, Any]]:
    table = workspace.table(runs.TABLE)
    return [table[key] for key in reversed(list(table))]


async def _by_id(context: Context, workspace: Workspace, number: str) -> Experiment:
    for found in await _experiments(context, workspace):
        if found.experiment_id == number:
            return found
    raise Refused(404, "UserError", f"Experiment {number} was not found.")


async def _experiments(context: Context, workspace: Workspace) -> list[Experiment]:
    return await tracking.in_store(
        context, workspace, lambda store: list(store.search_experiments(max_results=1000))
    )


def _experiment(found: Experiment) -> dict[str, Any]:
    return {
        "experimentId": found.experiment_id,
        "name": found.name,
        "description": None,
        "createdUtc": None,
        "tags": {},
        "archivedTime": None,
    }
