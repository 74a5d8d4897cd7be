"""The workspace's storage account: block blobs in folders.

Calls arrive as ``/blob/ACCOUNT/CONTAINER/NAME``. They carry a signature in the address, as a shared access signature
does, or name the account in a SharedKey header, whose signature is not computed again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from xml.sax.saxutils import escape

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Answer, Call, Routes

routes = Routes()
_BLOCK = re.compile(rb"<(?:Latest|Uncommitted|Committed)>([^<]+)<")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_XML = {"Content-Type": "application/xml", "x-ms-version": "2019-12-12"}
_CODES = {403: "AuthenticationFailed", 404: "BlobNotFound", 409: "BlobAlreadyExists"}


@routes.add("GET", "/blob/{account}/{container}", anonymous=True)
async def list_blobs(call: Call) -> Answer:
    """The blobs of a container, those with a prefix alone where one is given."""
    workspace = _workspace(call)
    if workspace is None:
        return _problem(403)
    container = call.match["container"]
    prefix = call.query.get("prefix", "")
    found = []
    for name, file in sorted(blobs(workspace, container)):
        if name.startswith(prefix):
            properties = "".join(
                f"<{key}>{escape(value)}</{key}>" for key, value in _properties(file).items()
            )
            found.append(
                f"<Blob><Name>{escape(name)}</Name><Properties>{properties}</Properties></Blob>"
            )
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<EnumerationResults ServiceEndpoint="{call.context.base_url}" ContainerName="{escape(container)}">'
        f"<Blobs>{''.join(found)}</Blobs><NextMarker/></EnumerationResults>"
    )
    return Answer(200, body.encode(), _XML)


@routes.add("PUT", "/blob/{account}/{container}", anonymous=True)
async def make_container(call: Call) -> Answer:
    """Containers are made by the first blob that is put into them."""
    return _problem(403) if _workspace(call) is None else Answer(201, b"", _XML)


@routes.add("PUT", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def put_blob(call: Call) -> Answer:
    """Write a blob, one of its blocks, or a blob from its blocks."""
    workspace = _workspace(call)
    if workspace is None:
        return _problem(403)
    file = workspace.blob_file(call.match["container"], call.match["name"])
    if call.headers.get("if-none-match") == "*" and file.exists():
        return _problem(409)
    blocks = workspace.folder / "blocks" / hashlib.sha256(str(file).encode()).hexdigest()
    kind = call.query.get("comp")
    if kind == "block":
        block = blocks / hashlib.sha256(call.query["blockid"].encode()).hexdigest()
        await asyncio.to_thread(_write, block, [call.body])
        return Answer(201, b"", _XML)
    if kind == "blocklist":
        names = [hashlib.sha256(found).hexdigest() for found in _BLOCK.findall(call.body)]
        await asyncio.to_thread(_write, file, ((blocks / name).read_bytes() for name in names))
        shutil.rmtree(blocks, ignore_errors=True)
    elif kind is None:
        await asyncio.to_thread(_write, file, [call.body])
    return Answer(201, b"", {**_XML, **_headers(file)})


@routes.add("GET", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def get_blob(call: Call) -> Answer:
    """Read a blob, or a range of it."""
    workspace = _workspace(call)
    if workspace is None:
        return _problem(403)
    file = workspace.blob_file(call.match["container"], call.match["name"])
    if not file.is_file():
        return _problem(404)
    headers = _headers(file)
    size = file.stat().st_size
    wanted = call.headers.get("x-ms-range") or call.headers.get("range", "")
    if match := _RANGE.match(wanted):
        first = int(match[1])
        last = min(int(match[2] or size - 1), size - 1)
        if first >= size:
            return Answer(416, b"", {**_XML, "x-ms-error-code": "InvalidRange"})
        content = await asyncio.to_thread(_read, file, first, last - first + 1)
        return Answer(206, content, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"})
    return Answer(200, await asyncio.to_thread(file.read_bytes), headers)


@routes.add("HEAD", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def head_blob(call: Call) -> Answer:
    """A blob's properties."""
    workspace = _workspace(call)
    if workspace is None:
        return _problem(403)
    file = workspace.blob_file(call.match["container"], call.match["name"])
    if not file.is_file():
        return _problem(404)
    return Answer(200, b"", _headers(file), content_length=file.stat().st_size)


@routes.add("DELETE", "/blob/{account}/{container}/{name:path}", anonymous=True)
async def delete_blob(call: Call) -> Answer:
    """Remove a blob."""
    workspace = _workspace(call)
    if workspace is None:
        return _problem(403)
    file = workspace.blob_file(call.match["container"], call.match["name"])
    if not file.is_file():
        return _problem(404)
    file.unlink()
    return Answer(202, b"", _XML)


def blobs(workspace: Workspace, container: str) -> Iterator[tuple[str, Path]]:
    """Name and file of each blob of a container."""
    root = workspace.folder / "blobs" / container
    for file in root.rglob("*"):
        if file.is_file() and not file.name.endswith(".part"):
            yield file.relative_to(root).as_posix(), file


def _workspace(call: Call) -> Workspace | None:
    """The account's workspace, where the call may use it."""
    account = call.match["account"]
    workspace = call.context.workspace_of_account(account)
    signature = call.query.get("sig", "").encode()
    signed = hmac.compare_digest(signature, call.context.secrets["signature"].encode())
    if signed or call.headers.get("authorization", "").startswith(f"SharedKey {account}:"):
        return workspace
    return None


def _write(file: Path, parts: Iterator[bytes] | list[bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(suffix=".part", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as target:
            for part in parts:
                target.write(part)
        os.replace(aside, file)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _read(file: Path, first: int, length: int) -> bytes:
    with file.open("rb") as source:
        source.seek(first)
        return source.read(length)


def _properties(file: Path) -> dict[str, str]:
    status = file.stat()
    return {
        "Last-Modified": format_datetime(
            datetime.fromtimestamp(int(status.st_mtime), UTC), usegmt=True
        ),
        "Etag": f"0x{status.st_mtime_ns:X}",
        "Content-Length": str(status.st_size),
        "Content-Type": "application/octet-stream",
        "BlobType": "BlockBlob",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
    }


def _headers(file: Path) -> dict[str, str]:
    properties = _properties(file)
    return {
        "Content-Type": properties["Content-Type"],
        "ETag": f'"{properties["Etag"]}"',
        "Last-Modified": properties["Last-Modified"],
        "x-ms-blob-type": properties["BlobType"],
        "x-ms-creation-time": properties["Last-Modified"],
        "x-ms-lease-status": properties["LeaseStatus"],
        "x-ms-lease-state": properties["LeaseState"],
        "x-ms-request-server-encrypted": "true",
        "x-ms-server-encrypted": "true",
        "x-ms-version": _XML["x-ms-version"],
    }


def _problem(status: int) -> Answer:
    code = _CODES[status]
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Answer(status, body.encode(), {**_XML, "x-ms-error-code": code})
