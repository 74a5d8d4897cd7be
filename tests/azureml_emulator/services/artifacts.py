"""Artifacts: files of runs and of uploads, by origin, container and path. Their content goes to the storage account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.routing import Call, Refused, Routes

CONTAINER = "azureml"
"""Of the storage account, as on Azure."""

routes = Routes()
_BASE = "/artifact/v2.0{ws}/artifacts"


@routes.add("POST", _BASE + "/batch/metadata/{origin}/{container}")
async def make(call: Call) -> dict[str, Any]:
    """Announce files, and say where to upload their content."""
    paths = [item["path"] for item in call.json["paths"]]
    return register(
        call.context, call.workspace, call.match["origin"], call.match["container"], paths
    )


@routes.add("GET", _BASE + "/contentinfo/{origin}/{container}/{path:path}")
async def content_info(call: Call) -> dict[str, Any]:
    """Where one file's content is."""
    match = call.match
    return content(call.context, call.workspace, match["origin"], match["container"], match["path"])


@routes.add("GET", _BASE + "/prefix/contentinfo/{origin}/{container}/{path:path}")
async def prefix_content_info(call: Call) -> dict[str, Any]:
    """Where the content of each file below a path is."""
    match = call.match
    found = under(call.workspace, match["origin"], match["container"], match["path"])
    return {
        "value": [
            content(call.context, call.workspace, item["origin"], item["container"], item["path"])
            for item in found
        ]
    }


@routes.add(
    "GET",
    _BASE + "/{origin:(?!contentinfo|prefix|metadata|content)[^/]+}/{container}",
    _BASE + "/{origin:(?!contentinfo|prefix|metadata|content)[^/]+}/{container}/{path:path}",
)
async def list_artifacts(call: Call) -> dict[str, Any]:
    """The files below a path."""
    match = call.match
    return {
        "value": under(call.workspace, match["origin"], match["container"], match.get("path", ""))
    }


def register(
    context: Context, workspace: Workspace, origin: str, container: str, paths: list[str]
) -> dict[str, Any]:
    """Make artifacts and say where their content goes."""
    table = workspace.table("artifacts")
    artifacts = {}
    addresses = {}
    for path in paths:
        document = _document(context, origin, container, path)
        table[document["artifactId"]] = document
        artifacts[path] = document
        addresses[path] = content(context, workspace, origin, container, path)
    return {"artifacts": artifacts, "artifactContentInformation": addresses, "errors": {}}


def content(
    context: Context, workspace: Workspace, origin: str, container: str, path: str
) -> dict[str, Any]:
    """Where a file's content is.

    Raises:
        Refused: there is no such artifact.
    """
    key = f"{origin}/{container}/{path}"
    if key not in workspace.table("artifacts"):
        raise Refused(404, "UserError", f"Artifact {key} was not found.")
    return {
        "contentUri": context.blob_url(workspace, CONTAINER, key),
        "origin": origin,
        "container": container,
        "path": path,
    }


def under(workspace: Workspace, origin: str, container: str, path: str) -> list[dict[str, Any]]:
    """The artifacts at a path and below it; all of the container for an empty one."""
    prefix = f"{origin}/{container}/"
    folder = path.strip("/")
    table = workspace.table("artifacts")
    return [
        table[key]
        for key in table
        if key.startswith(prefix)
        and (not folder or key == prefix + folder or key.startswith(prefix + folder + "/"))
    ]


def files(workspace: Workspace, prefix: str) -> dict[str, Path]:
    """The files below ``origin/container/path``, or the one with that name.

    Returns:
        Path below the prefix (a file's own name where the prefix is the file) to the file.
    """
    prefix = prefix.strip("/")
    found = {}
    for key in workspace.table("artifacts"):
        if key == prefix:
            found[Path(key).name] = workspace.blob_file(CONTAINER, key)
        elif key.startswith(prefix + "/"):
            found[key.removeprefix(prefix + "/")] = workspace.blob_file(CONTAINER, key)
    return {path: file for path, file in found.items() if file.is_file()}


def _document(context: Context, origin: str, container: str, path: str) -> dict[str, Any]:
    key = f"{origin}/{container}/{path}"
    return {
        "artifactId": key,
        "origin": origin,
        "container": container,
        "path": path,
        "etag": "1",
        "createdTime": context.clock.text(),
        "dataPath": {"dataStoreName": "workspaceartifactstore", "relativePath": key},
    }
