"""MLflow's REST interface, as far as Azure Machine Learning answers it, and the artifacts of runs.

Whatever else MLflow knows (logged models, traces, datasets, aliases, ...) gets status 404 and no body, as on Azure; the
route of such a call is ``NOT_ANSWERED`` in the emulator's list of calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.azureml_emulator import runs, tracking
from tests.azureml_emulator.routing import Answer, Call, Routes
from tests.azureml_emulator.services import artifacts

routes = Routes()

_BASE = r"/mlflow/v{api:[12]\.0}{ws}"
NOT_ANSWERED = _BASE + "{rest:.*}"
"""Route of the calls that Azure Machine Learning does not answer."""

_BATCH_ASYNC = "/api/2.0/preview/mlflow/runs/log-batch-async"
"""Of Azure's own plugin; MLflow has no such call."""

ANSWERED: Mapping[str, Mapping[str, Sequence[str]]] = {
    "experiments": {
        "GET": ("get", "get-by-name", "search"),
        "POST": ("create", "search", "delete", "restore", "update", "set-experiment-tag"),
    },
    "runs": {
        "GET": ("get",),
        "POST": (
            *("create", "update", "delete", "restore", "search", "log-metric", "log-parameter"),
            *("log-batch", "set-tag", "delete-tag"),
        ),
    },
    "metrics": {"GET": ("get-history",)},
    "registered-models": {
        "GET": ("get", "search"),
        "POST": ("create", "rename", "set-tag", "get-latest-versions"),
        "PATCH": ("update",),
        "DELETE": ("delete", "delete-tag"),
    },
    "model-versions": {
        "GET": ("get", "search", "get-download-uri"),
        "POST": ("create", "transition-stage", "set-tag"),
        "PATCH": ("update",),
        "DELETE": ("delete", "delete-tag"),
    },
}
"""Resource, method and actions that Azure Machine Learning answers."""

_CHANGES_A_RUN = ("create", "update", "log-batch", "set-tag", "delete-tag")


async def mlflow(call: Call) -> Answer:
    """A call that Azure Machine Learning answers as MLflow does."""
    path = tracking.API + call.match["rest"]
    body = call.body
    if call.match["rest"] == "experiments/create":
        body = _with_artifact_location(call)
    return await _forward(call, path, body)


def _register() -> None:
    for resource, methods in ANSWERED.items():
        for method, actions in methods.items():
            pattern = f"{{rest:{re.escape(resource)}/(?:{'|'.join(actions)})}}"
            routes.add(method, _BASE + tracking.API + pattern)(mlflow)


_register()


@routes.add("POST", _BASE + _BATCH_ASYNC)
async def log_batch_async(call: Call) -> Answer:
    """Asynchronous logging."""
    return await _forward(call, tracking.API + "runs/log-batch", call.body)


async def not_answered(call: Call) -> Answer:
    """A call that MLflow knows and Azure Machine Learning does not."""
    return Answer(404, b"")


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    routes.add(_method, NOT_ANSWERED)(not_answered)


async def _forward(call: Call, path: str, body: bytes) -> Answer:
    answer = await tracking.answer(
        call.context, call.workspace, call.method, path, call.raw_query, body
    )
    resource, action = path.removeprefix(tracking.API).split("/")
    if answer.status == 200 and resource == "runs" and action in _CHANGES_A_RUN:
        run_id = _run_id(call, action, answer)
        state = action in ("create", "update")
        await runs.adopt(call.context, call.workspace, run_id, state=state)
    return answer


def _run_id(call: Call, action: str, answer: Answer) -> str:
    if action == "create":
        return str(json.loads(answer.body)["run"]["info"]["run_id"])
    content = call.json
    return str(content.get("run_id") or content["run_uuid"])


def _with_artifact_location(call: Call) -> bytes:
    content = call.json
    if content.get("name") and not content.get("artifact_location"):
        content["artifact_location"] = tracking.artifact_root(
            call.context, call.workspace, content["name"]
        )
    return json.dumps(content).encode()


_ARTIFACTS = tuple(
    f"/history/v1.0{{ws}}/{kind}/{{experiment}}/runs/{{run}}/artifacts"
    for kind in ("experiments", "experimentids")
)


@routes.add("POST", *(base + "/batch/metadata" for base in _ARTIFACTS))
async def make_artifacts(call: Call) -> dict[str, Any]:
    """Announce files of a run, and say where to upload their content."""
    run_id = _run(call)
    paths = [item["path"] for item in call.json["paths"]]
    return artifacts.register(
        call.context, call.workspace, tracking.ORIGIN, tracking.container(run_id), paths
    )


@routes.add(
    "GET",
    *(base + "/contentinfo" for base in _ARTIFACTS),
    *(base + "/contentinfo/{path:path}" for base in _ARTIFACTS),
)
async def content_info(call: Call) -> dict[str, Any]:
    """Where the content of a run's file is."""
    path = call.match.get("path") or call.query.get("path", "")
    return artifacts.content(
        call.context, call.workspace, tracking.ORIGIN, tracking.container(_run(call)), path
    )


@routes.add(
    "GET",
    *(base + "/prefix/contentinfo" for base in _ARTIFACTS),
    *(base + "/prefix/contentinfo/{path:path}" for base in _ARTIFACTS),
)
async def prefix_content_info(call: Call) -> dict[str, Any]:
    """Where the content of each file of a run below a path is."""
    origin, container = tracking.ORIGIN, tracking.container(_run(call))
    path = call.match.get("path") or call.query.get("path", "")
    return {
        "value": [
            artifacts.content(call.context, call.workspace, origin, container, item["path"])
            for item in artifacts.under(call.workspace, origin, container, path)
        ]
    }


@routes.add(
    "GET",
    *_ARTIFACTS,
    *(base + "/path" for base in _ARTIFACTS),
    *(base + "/path/{path:path}" for base in _ARTIFACTS),
)
async def list_artifacts(call: Call) -> dict[str, Any]:
    """The files of a run, those below a path alone where one is given."""
    path = call.match.get("path") or call.query.get("path", "")
    container = tracking.container(_run(call))
    return {"value": artifacts.under(call.workspace, tracking.ORIGIN, container, path)}


def _run(call: Call) -> str:
    return str(runs.get(call.workspace, call.match["run"])["runId"])
