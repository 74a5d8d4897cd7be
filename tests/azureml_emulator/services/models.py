"""Model management: assets, and registered models as azureml-core sees them.

Versions that were registered through MLflow are seen as well. They are changed and deleted through MLflow alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tests.azureml_emulator import tracking
from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes
from tests.azureml_emulator.services import artifacts

routes = Routes()
BASE = "/modelmanagement/v1.0{ws}"
ASSET = "aml://asset/"
ARTIFACT = "aml://artifact/"
_MLFLOW = "mlflow:"
"""Begins the id of the asset of a version that was registered through MLflow; its files' prefix follows."""


@routes.add("POST", BASE + "/assets")
async def make_asset(call: Call) -> dict[str, Any]:
    """Make an asset of files that were uploaded."""
    asset = {**call.json, "id": uuid.uuid4().hex, "createdTime": call.context.clock.text()}
    call.workspace.table("assets")[asset["id"]] = asset
    return asset


@routes.add("GET", BASE + "/assets/{asset:path}")
async def get_asset(call: Call) -> dict[str, Any]:
    """One asset."""
    return _asset(call.workspace, call.match["asset"])


@routes.add("POST", BASE + "/models")
async def register(call: Call) -> dict[str, Any]:
    """Register an asset as the next version of a model."""
    content = call.json
    if not str(content.get("url", "")).startswith(ASSET):
        raise refused(400, "BadRequest", "a model needs the url of an asset: aml://asset/ID")
    _asset(call.workspace, content["url"].removeprefix(ASSET))
    return await add(call.context, call.workspace, content)


@routes.add("GET", BASE + "/models")
async def list_models(call: Call) -> dict[str, Any]:
    """Models, newest version first: all, or those that fit the query."""
    query = call.query
    found = [
        model
        for model in sorted(
            await registered(call.workspace), key=lambda item: int(item["version"]), reverse=True
        )
        if query.get("name") in (None, model["name"])
        and query.get("runId") in (None, model["runId"])
        and query.get("framework") in (None, model["framework"])
        and _has(query.get("tags", ""), model["kvTags"])
        and _has(query.get("properties", ""), model["properties"])
    ]
    if query.get("latestVersionOnly", "").lower() == "true":
        newest: dict[str, dict[str, Any]] = {}
        for model in found:
            newest.setdefault(model["name"], model)
        found = list(newest.values())
    return {"value": found[: int(query["count"])] if "count" in query else found}


@routes.add("GET", BASE + "/models/{model}")
async def get_model(call: Call) -> dict[str, Any]:
    """One version, by ``NAME:VERSION``."""
    return await find(call.workspace, call.match["model"])


@routes.add("PATCH", BASE + "/models/{model}")
async def change_model(call: Call) -> dict[str, Any]:
    """Change tags, properties or the description."""
    model = await _own(call)
    for change in call.json:
        apply_patch(model, change)
    model["modifiedTime"] = call.context.clock.text()
    call.workspace.table("models")[model["id"]] = model
    return model


@routes.add("DELETE", BASE + "/models/{model}")
async def delete_model(call: Call) -> Answer:
    """Delete a version that no service uses."""
    model = await _own(call)
    for service in call.workspace.table("services").values():
        for part in (service, *service.get("versions", {}).values()):
            if model["id"] in (part.get("environmentImageRequest") or {}).get("modelIds", []):
                message = f"Model {model['id']} is used by service {service['name']}."
                raise refused(409, "ModelInUse", message)
    del call.workspace.table("models")[model["id"]]
    return Answer(200)


async def add(context: Context, workspace: Workspace, content: Mapping[str, Any]) -> dict[str, Any]:
    """Register the next version of a model.

    Args:
        context: of the emulator.
        workspace: that gets it.
        content: of the request: at least ``name`` and ``url``.
    """
    name = content["name"]
    versions = [
        int(item["version"]) for item in await registered(workspace) if item["name"] == name
    ]
    version = 1 + max(versions, default=0)
    model = {
        "description": None,
        "mimeType": "application/octet-stream",
        "framework": "Custom",
        "frameworkVersion": None,
        "unpack": False,
        "experimentName": None,
        "runId": None,
        "datasets": [],
        "parentModelId": None,
        **content,
        "kvTags": content.get("kvTags") or {},
        "properties": content.get("properties") or {},
        "id": f"{name}:{version}",
        "version": version,
        "createdTime": context.clock.text(),
        "modifiedTime": context.clock.text(),
        "createdBy": {"userName": "emulator"},
    }
    workspace.table("models")[model["id"]] = model
    return model


async def registered(workspace: Workspace) -> list[dict[str, Any]]:
    """Every version of every model."""
    return [
        *workspace.table("models").values(),
        *(_from_mlflow(model) for model in await tracking.registered_models(workspace)),
    ]


async def find(workspace: Workspace, model_id: str) -> dict[str, Any]:
    """One version.

    Raises:
        Refused: there is none.
    """
    for model in await registered(workspace):
        if model["id"] == model_id:
            return model
    raise refused(404, "ModelNotFound", f"Model with id {model_id} was not found.")


def files(workspace: Workspace, model: Mapping[str, Any]) -> dict[str, Path]:
    """The files of a version, by the path that they have in a container's model folder.

    The last part of an uploaded path is kept: a folder ``outputs/model`` is found as ``model/...``.
    """
    found: dict[str, Path] = {}
    asset = _asset(workspace, str(model["url"]).removeprefix(ASSET))
    for item in asset["artifacts"]:
        prefix = str(item.get("prefix") or item.get("id") or "").rstrip("/")
        single = prefix in workspace.table("artifacts")
        kept = PurePosixPath() if single else PurePosixPath(PurePosixPath(prefix).name)
        for path, file in artifacts.files(workspace, prefix).items():
            found[str(kept / path)] = file
    return found


def refused(status: int, code: str, message: str) -> Refused:
    """A refusal as model management writes it: the SDK's clients of models and of services read different places."""
    made = Refused(status, code, message)
    body = {
        "code": code,
        "statusCode": status,
        "message": message,
        "details": [{"code": code, "message": message}],
    }
    made.answer = Answer(status, {**body, "correlation": {}, "error": body})
    return made


def apply_patch(document: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Apply one operation of a JSON patch.

    Raises:
        Refused: it is not add, replace or remove, or what it removes is not there.
    """
    *parents, last = [part for part in str(change.get("path", "")).split("/") if part]
    target = document
    for name in parents:
        if not isinstance(target.get(name), dict):
            target[name] = {}
        target = target[name]
    if change.get("op") in ("add", "replace"):
        target[last] = change.get("value")
    elif change.get("op") == "remove" and last in target:
        del target[last]
    else:
        message = f"the patch cannot be applied: {change.get('op')} {change.get('path')}"
        raise refused(400, "BadRequest", message)


async def _own(call: Call) -> dict[str, Any]:
    """The version that a call names, where it was not registered through MLflow."""
    model = await find(call.workspace, call.match["model"])
    if model["id"] not in call.workspace.table("models"):
        message = f"Model {model['id']} was registered through MLflow: change it through MLflow."
        raise refused(400, "BadRequest", message)
    return model


def _from_mlflow(model: tracking.RegisteredModel) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created / 1000, UTC).isoformat()
    return {
        "id": f"{model.name}:{model.version}",
        "name": model.name,
        "version": model.version,
        "url": f"{ASSET}{_MLFLOW}{model.prefix}",
        "description": model.description,
        "mimeType": "application/octet-stream",
        "framework": "Custom",
        "frameworkVersion": None,
        "unpack": False,
        # With a name here the SDK would fetch the run together with the model.
        "experimentName": None,
        "runId": model.run_id,
        "datasets": [],
        "parentModelId": None,
        "kvTags": dict(model.tags),
        "properties": {},
        "createdTime": created,
        "modifiedTime": created,
        "createdBy": {"userName": "emulator"},
    }


def _asset(workspace: Workspace, asset: str) -> dict[str, Any]:
    if asset.startswith(_MLFLOW):
        prefix = asset.removeprefix(_MLFLOW)
        return {"id": asset, "name": prefix, "artifacts": [{"prefix": prefix}]}
    found: dict[str, Any] | None = workspace.table("assets").get(asset)
    if found is None:
        raise refused(404, "AssetNotFound", f"Asset with id {asset} was not found.")
    return found


def _has(wanted: str, present: Mapping[str, str]) -> bool:
    """Whether every ``name`` or ``name=value`` of a comma separated list is there."""
    for item in wanted.split(","):
        name, equals, value = item.partition("=")
        if name and (name not in present or (equals and present[name] != value)):
            return False
    return True
