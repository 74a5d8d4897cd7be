"""Environments and the builds of their images.

No image is built. The fault ``image-build`` lets a build fail; its message is the end of the log.
"""

from __future__ import annotations

import uuid
from typing import Any

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes

LOGS = "azureml-imagebuilds"
"""Container of the builds' logs."""
_LATEST = "latest"

routes = Routes()


@routes.add("GET", "/environment/v1.0{ws}/environments")
async def list_environments(call: Call) -> dict[str, Any]:
    """The latest version of every environment."""
    table = call.workspace.table("environments")
    return {"value": [_version(table[name], _LATEST) for name in table]}


@routes.add(
    "PUT",
    "/environment/v1.0{ws}/environments/{name}",
    "/environment/v1.0{ws}/environments/{name}/versions/{version}",
)
async def put_environment(call: Call) -> dict[str, Any]:
    """Register a version. Without a number, the same content as the latest version is that version.

    Raises:
        Refused: the version is there with another content.
    """
    table = call.workspace.table("environments")
    name = call.match["name"]
    versions = table.get(name, {})
    wanted = {key[:1].lower() + key[1:]: value for key, value in call.json.items()}
    wanted.pop("version", None)
    version = call.match.get("version")
    if version is None and versions:
        latest = _version(versions, _LATEST)
        if {key: value for key, value in latest.items() if key != "version"} == wanted:
            return latest
    version = version or str(len(versions) + 1)
    document = {**wanted, "name": name, "version": version}
    if versions.get(version, document) != document:
        message = f"Environment '{name}' version '{version}' is there with another definition."
        raise Refused(409, "Conflict", message)
    table[name] = {**versions, version: document}
    return document


@routes.add(
    "GET",
    "/environment/v1.0{ws}/environments/{name}",
    "/environment/v1.0{ws}/environments/{name}/versions/{version}",
)
async def get_environment(call: Call) -> dict[str, Any]:
    """One version, or the latest."""
    return _find(call.workspace, call.match["name"], call.match.get("version") or _LATEST)


@routes.add("GET", "/environment/v1.0{ws}/environments/{name}/versions/{version}/image")
async def image(call: Call) -> dict[str, Any]:
    """Where the image of a version is, and whether it was built."""
    found = _find(call.workspace, call.match["name"], call.match["version"])
    key = f"{found['name']}:{found['version']}"
    repository = f"azureml/{found['name']}-{found['version']}"
    return {
        "imageExistsInRegistry": key in call.workspace.table("images"),
        "dockerImage": {
            "name": repository,
            "registry": {"address": "emulator.azurecr.localhost", "username": None},
        },
        "pythonEnvironment": {"interpreterPath": "python", "condaEnvironmentPath": None},
        "ingredients": {"dockerfile": f"FROM {found['docker']['baseImage']}"},
    }


@routes.add("POST", "/environment/v2.0{ws}/environments/{name}/versions/{version}/image")
async def build_image(call: Call) -> Answer:
    """Begin to build an image."""
    found = _find(call.workspace, call.match["name"], call.match["version"])
    fault = call.context.faults.take("image-build")
    build = str(uuid.uuid4())
    steps = [f"Step 1/2 : FROM {found['docker']['baseImage']}", "Step 2/2 : RUN conda env create"]
    log = [*steps, f"ERROR: {fault.message}"] if fault else [*steps, "Successfully built"]
    file = call.workspace.blob_file(LOGS, f"{build}.txt")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(log) + "\n", encoding="utf-8")
    call.workspace.table("builds")[build] = {
        "image": f"{found['name']}:{found['version']}",
        "ends": "Failed" if fault else "Succeeded",
        "polls": 1,
    }
    location = f"{call.context.base_url}/environment/v1.0{call.workspace.path}/operations/{build}"
    return Answer(202, {"location": location})


@routes.add("GET", "/environment/v1.0{ws}/operations/{build}")
async def build_status(call: Call) -> dict[str, Any]:
    """How far a build is."""
    builds = call.workspace.table("builds")
    build = call.match["build"]
    document = builds.get(build)
    if document is None:
        raise Refused(404, "NotFound", f"Operation {build} was not found.")
    state = "Running" if document["polls"] > 0 else document["ends"]
    document["polls"] -= 1
    builds[build] = document
    if state == "Succeeded":
        call.workspace.table("images")[document["image"]] = build
    return {
        "status": state,
        "environmentStatus": state,
        "logUrl": call.context.blob_url(call.workspace, LOGS, f"{build}.txt"),
    }


def _find(workspace: Workspace, name: str, version: str) -> dict[str, Any]:
    versions = workspace.table("environments").get(name)
    if not versions or (version != _LATEST and version not in versions):
        label = name if version == _LATEST else f"{name}:{version}"
        raise Refused(404, "EnvironmentNotFound", f"Environment '{label}' was not found.")
    return _version(versions, version)


def _version(versions: dict[str, Any], version: str) -> dict[str, Any]:
    """A version; the latest is the one that was registered last."""
    chosen = list(versions)[-1] if version == _LATEST else version
    document: dict[str, Any] = versions[chosen]
    return document
