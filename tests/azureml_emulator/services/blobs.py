"""The workspace's storage account: block blobs and append blobs in folders.

Calls arrive as ``/blob/ACCOUNT/CONTAINER/NAME``. They carry a signature in the address, as a shared access signature
does, or name the account in a SharedKey header, whose signature is not computed again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Answer, Call, Routes
from tests.azureml_emulator.services.blob_files import (
    APPEND,
    BLOCK,
    XML,
    Blob,
    blob_of,
    change_lease,
    check,
    existing_blob_of,
    headers,
    properties,
    refused,
    workspace_of,
)

routes = Routes()
_BLOCK = re.compile(rb"<(?:Latest|Uncommitted|Committed)>([^<]+)<")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_MOST_BLOCKS = 50_000
"""As many as an append blob may have."""
_LARGE = 4 * 2**20
"""Bytes: what is smaller is written at once, so that no other call comes between its conditions and it."""


@routes.add("GET", "/blob/{account}/{container}", anonymous=True)
async def list_blobs(call: Call) -> Answer:
    """The blobs of a container, those with a prefix alone where one is given."""
    workspace = workspace_of(call)
    container = call.match["container"]
    prefix = call.query.get("prefix", "")
    found = []
    for name, file in sorted(blobs(workspace, container)):
        if name.startswith(prefix):
            blob = Blob(workspace, container, name, file, call.context.clock.seconds())
            listed = "".join(
                f"<{key}>{escape(value)}</{key}>" for key, value in properties(blob).items()
            )
            found.append(
                f"<Blob><Name>{escape(name)}</Name><Properties>{listed}</Properties></Blob>"
            )
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<EnumerationResults ServiceEndpoint="{call.context.base_url}" ContainerName="{escape(container)}">'
        f"<Blobs>{''.join(found)}</Blobs><NextMarker/></EnumerationResults>"
    )
    return Answer(200, body.encode(), XML)


@routes.add("PUT", "/blob/{account}/{container}", anonymous=True)
async def make_container(call: Call) -> Answer:
    """Containers are made by the first blob that is put into them."""
    workspace_of(call)
    return Answer(201, b"", XML)


@routes.add("PUT", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def put_blob(call: Call) -> Answer:
    """Write a blob, one of its blocks, a blob from its blocks, or a block at the end; or change its lease."""
    kind = call.query.get("comp")
    if kind == "lease":
        blob = blob_of(call)
        if not blob.exists:
            raise refused(404, "BlobNotFound")
        return change_lease(call, blob)
    if kind == "appendblock":
        return _append(call, existing_blob_of(call))
    blob = blob_of(call)
    check(call, blob)
    blocks = blob.workspace.folder / "blocks" / hashlib.sha256(str(blob.file).encode()).hexdigest()
    if kind == "block":
        block = blocks / hashlib.sha256(call.query["blockid"].encode()).hexdigest()
        part = Blob(blob.workspace, blob.container, blob.name, block, blob.now)
        await asyncio.to_thread(part.write, [call.body])
        return Answer(201, b"", XML)
    if kind == "blocklist":
        names = [hashlib.sha256(found).hexdigest() for found in _BLOCK.findall(call.body)]
        await asyncio.to_thread(blob.write, ((blocks / name).read_bytes() for name in names))
        shutil.rmtree(blocks, ignore_errors=True)
    elif kind is not None:
        return Answer(501, {"error": {"message": f"the emulator does not know comp={kind}"}})
    elif len(call.body) < _LARGE:
        blob.write([call.body])
    else:
        await asyncio.to_thread(blob.write, [call.body])
    blob.set_kind(APPEND if call.headers.get("x-ms-blob-type") == APPEND else BLOCK)
    return Answer(201, b"", {**XML, **headers(blob)})


@routes.add("GET", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def get_blob(call: Call) -> Answer:
    """Read a blob, or a range of it."""
    blob = existing_blob_of(call)
    # Headers and content are of the same file, also where another one takes its place meanwhile.
    with blob.file.open("rb") as source:
        found = headers(blob)
        size = os.fstat(source.fileno()).st_size
        wanted = call.headers.get("x-ms-range") or call.headers.get("range", "")
        if match := _RANGE.match(wanted):
            first = int(match[1])
            last = min(int(match[2] or size - 1), size - 1)
            if first >= size:
                return Answer(416, b"", {**XML, "x-ms-error-code": "InvalidRange"})
            source.seek(first)
            content = await asyncio.to_thread(source.read, last - first + 1)
            return Answer(206, content, {**found, "Content-Range": f"bytes {first}-{last}/{size}"})
        return Answer(200, await asyncio.to_thread(source.read, size), found)


@routes.add("HEAD", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def head_blob(call: Call) -> Answer:
    """A blob's properties."""
    blob = existing_blob_of(call)
    return Answer(200, b"", headers(blob), content_length=blob.file.stat().st_size)


@routes.add("DELETE", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def delete_blob(call: Call) -> Answer:
    """Remove a blob."""
    existing_blob_of(call).delete()
    return Answer(202, b"", XML)


def blobs(workspace: Workspace, container: str) -> Iterator[tuple[str, Path]]:
    """Name and file of each blob of a container."""
    root = workspace.folder / "blobs" / container
    for file in root.rglob("*"):
        if file.is_file() and not file.name.endswith(".part"):
            yield file.relative_to(root).as_posix(), file


def _append(call: Call, blob: Blob) -> Answer:
    if blob.kind != APPEND:
        raise refused(409, "InvalidBlobType")
    size = blob.file.stat().st_size
    position = call.headers.get("x-ms-blob-condition-appendpos")
    if position is not None and int(position) != size:
        raise refused(412, "AppendPositionConditionNotMet")
    if blob.blocks >= _MOST_BLOCKS:
        raise refused(409, "BlockCountExceedsLimit")
    with blob.file.open("ab") as target:
        target.write(call.body)
    blob.set_kind(APPEND, blob.blocks + 1)
    added = {
        "x-ms-blob-append-offset": str(size),
        "x-ms-blob-committed-block-count": f"{blob.blocks}",
    }
    return Answer(201, b"", {**XML, **headers(blob), **added})
