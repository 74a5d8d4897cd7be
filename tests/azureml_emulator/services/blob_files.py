"""Blobs as files, and what a call may do with one: conditions on its ETag, and leases."""

from __future__ import annotations

import hmac
import os
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused

XML = {"Content-Type": "application/xml", "x-ms-version": "2019-12-12"}
APPEND = "AppendBlob"
BLOCK = "BlockBlob"
_KINDS = "append_blobs"
_LEASES = "blob_leases"
_WRITES = ("PUT", "DELETE")


@dataclass(frozen=True, slots=True)
class Blob:
    """One blob of a workspace, whether it exists or not."""

    workspace: Workspace
    container: str
    name: str
    file: Path
    now: float

    @property
    def exists(self) -> bool:
        """Whether something was written."""
        return self.file.is_file()

    @property
    def etag(self) -> str:
        """Another one after every change."""
        status = self.file.stat()
        # Two changes may fall into one tick of the file system's clock.
        return f'"0x{status.st_mtime_ns:X}{status.st_ino:X}{status.st_size:X}"'

    @property
    def kind(self) -> str:
        """``BlockBlob`` or ``AppendBlob``."""
        return APPEND if self._key in self.workspace.table(_KINDS) else BLOCK

    @property
    def blocks(self) -> int:
        """How many blocks were appended."""
        return int(self.workspace.table(_KINDS).get(self._key, 0))

    @property
    def lease(self) -> dict[str, Any] | None:
        """``id``, ``seconds`` and ``until`` of the lease, also of one that is over and that nobody took since."""
        found: dict[str, Any] | None = self.workspace.table(_LEASES).get(self._key)
        return found

    @property
    def leased(self) -> bool:
        """Whether somebody has it."""
        lease = self.lease
        return lease is not None and (lease["seconds"] == -1 or self.now < lease["until"])

    def write(self, parts: Iterable[bytes]) -> None:
        """Replace it by a block blob."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(suffix=".part", dir=self.file.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                for part in parts:
                    target.write(part)
            os.replace(aside, self.file)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def set_kind(self, kind: str, blocks: int = 0) -> None:
        """Say what it is after a change, which also ends a lease that was over."""
        table = self.workspace.table(_KINDS)
        if kind == APPEND:
            table[self._key] = blocks
        else:
            table.pop(self._key, None)
        if not self.leased:
            self.workspace.table(_LEASES).pop(self._key, None)

    def set_lease(self, identity: str | None, seconds: int = 0) -> None:
        """Give it to somebody, or to nobody."""
        table = self.workspace.table(_LEASES)
        if identity is None:
            table.pop(self._key, None)
        else:
            table[self._key] = {"id": identity, "seconds": seconds, "until": self.now + seconds}

    def delete(self) -> None:
        """Remove it."""
        self.file.unlink()
        self.set_kind(BLOCK)
        self.set_lease(None)

    @property
    def _key(self) -> str:
        return f"{self.container}/{self.name}"


def workspace_of(call: Call) -> Workspace:
    """The account's workspace.

    Raises:
        Refused: the call may not use it.
    """
    account = call.match["account"]
    workspace = call.context.workspace_of_account(account)
    signature = call.query.get("sig", "").encode()
    signed = hmac.compare_digest(signature, call.context.secrets["signature"].encode())
    named = call.headers.get("authorization", "").startswith(f"SharedKey {account}:")
    if workspace is None or not (signed or named):
        raise refused(403, "AuthenticationFailed")
    return workspace


def blob_of(call: Call) -> Blob:
    """The blob that a call is about.

    Raises:
        Refused: the call may not use the account.
    """
    workspace = workspace_of(call)
    container, name = call.match["container"], call.match["name"]
    file = workspace.blob_file(container, name)
    return Blob(workspace, container, name, file, call.context.clock.seconds())


def existing_blob_of(call: Call) -> Blob:
    """The blob that a call is about, whose conditions hold.

    Raises:
        Refused: there is none, or a condition of the call does not hold.
    """
    blob = blob_of(call)
    if not blob.exists:
        raise refused(404, "BlobNotFound")
    check(call, blob)
    return blob


def check(call: Call, blob: Blob) -> None:
    """Check a call's conditions on the blob's ETag, and its lease.

    Raises:
        Refused: with 304, 409 or 412, as Azure says which does not hold.
    """
    writes = call.method in _WRITES
    etag = blob.etag if blob.exists else None
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    if writes and unwanted == "*" and etag is not None:
        raise refused(409, "BlobAlreadyExists")
    if wanted is not None and (etag is None or wanted not in ("*", etag)):
        raise refused(412, "ConditionNotMet")
    if unwanted is not None and unwanted in ("*", etag) and etag is not None:
        raise refused(412 if writes else 304, "ConditionNotMet")
    given = call.headers.get("x-ms-lease-id")
    lease = blob.lease if blob.leased else None
    if given is None:
        if writes and lease is not None:
            raise refused(412, "LeaseIdMissing")
    elif lease is None:
        raise refused(412, "LeaseNotPresentWithBlobOperation")
    elif lease["id"] != given:
        raise refused(412, "LeaseIdMismatchWithBlobOperation")


def change_lease(call: Call, blob: Blob) -> Answer:
    """Acquire, renew, change, release or break a lease.

    Raises:
        Refused: somebody else has it, or it is not there.
    """
    action = call.headers.get("x-ms-lease-action", "").lower()
    given = call.headers.get("x-ms-lease-id")
    proposed = call.headers.get("x-ms-proposed-lease-id")
    lease = blob.lease
    if action == "acquire":
        if lease is not None and blob.leased and lease["id"] != proposed:
            raise refused(409, "LeaseAlreadyPresent")
        seconds = int(call.headers.get("x-ms-lease-duration", "-1"))
        if seconds != -1 and not 15 <= seconds <= 60:
            raise refused(400, "InvalidHeaderValue")
        identity = proposed or str(uuid.uuid4())
        blob.set_lease(identity, seconds)
        return Answer(201, b"", {**XML, **headers(blob), "x-ms-lease-id": identity})
    if action == "break":
        if lease is None:
            raise refused(409, "LeaseNotPresentWithLeaseOperation")
        blob.set_lease(None)
        return Answer(202, b"", {**XML, **headers(blob), "x-ms-lease-time": "0"})
    if lease is None or lease["id"] != given:
        raise refused(409, "LeaseIdMismatchWithLeaseOperation")
    if action == "renew":
        blob.set_lease(given, lease["seconds"])
    elif action == "change" and proposed and blob.leased:
        blob.set_lease(proposed, lease["seconds"])
    elif action == "release":
        blob.set_lease(None)
        return Answer(200, b"", {**XML, **headers(blob)})
    else:
        raise refused(400, "InvalidHeaderValue")
    return Answer(200, b"", {**XML, **headers(blob), "x-ms-lease-id": proposed or str(given)})


def properties(blob: Blob) -> dict[str, str]:
    """A blob's properties by their names in a list."""
    status = blob.file.stat()
    moment = datetime.fromtimestamp(int(status.st_mtime), UTC)
    return {
        "Last-Modified": format_datetime(moment, usegmt=True),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(status.st_size),
        "Content-Type": "application/octet-stream",
        "BlobType": blob.kind,
        "LeaseStatus": "locked" if blob.leased else "unlocked",
        "LeaseState": "leased" if blob.leased else "expired" if blob.lease else "available",
    }


def headers(blob: Blob) -> dict[str, str]:
    """A blob's properties by their names in an answer."""
    found = properties(blob)
    return {
        "Content-Type": found["Content-Type"],
        "ETag": blob.etag,
        "Last-Modified": found["Last-Modified"],
        "x-ms-blob-type": found["BlobType"],
        "x-ms-creation-time": found["Last-Modified"],
        "x-ms-lease-status": found["LeaseStatus"],
        "x-ms-lease-state": found["LeaseState"],
        "x-ms-request-server-encrypted": "true",
        "x-ms-server-encrypted": "true",
        "x-ms-version": XML["x-ms-version"],
    }


def refused(status: int, code: str) -> Refused:
    """A refusal as blob storage writes it."""
    made = Refused(status, code, code)
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    content = b"" if status == 304 else body.encode()
    made.answer = Answer(status, content, {**XML, "x-ms-error-code": code})
    return made
