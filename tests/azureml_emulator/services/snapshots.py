"""Snapshots: the source folders of steps, each as the files that changed since an earlier one."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Call, Refused, Routes

routes = Routes()
_CONTAINER = "snapshots"
_EMPTY = "00000000-0000-0000-0000-000000000000"


@routes.add("GET", "/content/v1.0{ws}/snapshots/latest/metadata")
async def latest(call: Call) -> dict[str, Any]:
    """The snapshot that a client without a cache compares with: the empty one."""
    root: dict[str, Any] = {
        "name": "",
        "hash": None,
        "type": "Directory",
        "timestamp": call.context.clock.text(),
        "sasUrl": None,
        "absoluteUrl": None,
        "sizeBytes": 0,
        "sizeSet": False,
        "children": {},
    }
    return {"id": _EMPTY, "root": root}


@routes.add("POST", "/content/v2.0{ws}/snapshots/getblob")
async def addresses(call: Call) -> dict[str, Any]:
    """Where to upload files."""
    upload = uuid.uuid4().hex
    return {
        "fileNodes": [
            {
                "fullName": name,
                "blobUri": call.context.blob_url(call.workspace, _CONTAINER, f"{upload}/{name}"),
            }
            for name in call.json["FileNames"]
        ]
    }


@routes.add("POST", "/content/v2.0{ws}/snapshots/{id:[0-9a-f-]+}")
async def create(call: Call) -> dict[str, Any]:
    """Make a snapshot of an earlier one and of files that were uploaded."""
    table = call.workspace.table("snapshots")
    parent = call.json.get("ParentSnapshotId") or _EMPTY
    if parent != _EMPTY and parent not in table:
        raise Refused(404, "SnapshotNotFound", f"Snapshot {parent} was not found.")
    known: dict[str, str] = dict(table[parent]) if parent != _EMPTY else {}
    for node in call.json["FileRevisionList"]["FileNodes"]:
        path = unquote(urlsplit(node["BlobUri"]).path)
        known[node["FullName"]] = path.removeprefix(f"/{_CONTAINER}/")
    there = set(_files(call.json["DirTreeNode"], ""))
    if missing := sorted(there - set(known)):
        raise Refused(400, "BadRequest", f"{missing[0]} was not uploaded.")
    table[call.match["id"]] = {name: blob for name, blob in known.items() if name in there}
    return {"id": call.match["id"]}


def files(workspace: Workspace, snapshot: str) -> dict[str, Path]:
    """Where the content of each of a snapshot's files is kept."""
    return {
        name: workspace.blob_file(_CONTAINER, blob)
        for name, blob in workspace.table("snapshots")[snapshot].items()
    }


def extract(content: Mapping[str, Path], folder: Path) -> None:
    """Write the files of a snapshot into a new folder."""
    for name, file in content.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


def content_hash(workspace: Workspace, snapshot: str) -> str:
    """SHA-256 of names and contents: the same for two snapshots of the same files."""
    digest = hashlib.sha256()
    for name, file in sorted(files(workspace, snapshot).items()):
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def _files(node: dict[str, Any], prefix: str) -> Iterator[str]:
    for child in (node.get("children") or {}).values():
        path = f"{prefix}{child['name']}"
        if child["type"] == "Directory":
            yield from _files(child, f"{path}/")
        else:
            yield path
