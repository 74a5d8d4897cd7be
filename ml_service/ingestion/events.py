"""What tells of a new file: Event Grid's ``Microsoft.Storage.BlobCreated``, from Azure or made here.

Event Grid's schema and that of CloudEvents 1.0 are read. An event only names a file: whether it is new is decided by
what lies in the landing and by the ledger, for events come twice, late and in any order.
https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ml_service.ingestion.landing import Arrival
from ml_service.platforms.base import PlatformError

BLOB_CREATED = "Microsoft.Storage.BlobCreated"
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"

_NOT_YET = ("CreateFile", "SftpCreate")
"""Operations that make an empty file, which is written later: another event tells when that is done."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Event Grid asks whether events may be sent here.

    Attributes:
        code: that the answer has to repeat.
    """

    code: str

    def answer(self) -> dict[str, str]:
        """The body of the answer."""
        return {"validationResponse": self.code}


def blob_created(address: str, arrival: Arrival) -> dict[str, Any]:
    """The event that Event Grid would send for a file.

    Args:
        address: of the landing.
        arrival: what was found there.
    """
    url = address if "://" in address else f"file://{quote(address)}"
    container = url.rstrip("/").rpartition("/")[2]
    path = quote(arrival.name)
    return {
        "topic": "",
        "subject": f"/blobServices/default/containers/{container}/blobs/{arrival.name}",
        "eventType": BLOB_CREATED,
        # The same file in the same state is the same event.
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{url}/{path}#{arrival.etag}")),
        "eventTime": arrival.modified,
        "data": {
            "api": "PutBlob",
            "eTag": arrival.etag,
            "contentLength": arrival.size,
            "blobType": "BlockBlob",
            "url": f"{url}/{path}",
        },
        "dataVersion": "",
        "metadataVersion": "1",
    }


def parse_events(text: str | bytes) -> Handshake | list[Mapping[str, Any]]:
    """Read one event or a list of them.

    Raises:
        PlatformError: it is neither.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlatformError(f"this is no event: it is not JSON ({error})") from None
    events = content if isinstance(content, list) else [content]
    if not events or not all(isinstance(event, dict) and _kind(event) for event in events):
        raise PlatformError(
            "this is no event: it has no eventType (Event Grid) or type (CloudEvents)"
        )
    for event in events:
        if _kind(event) == VALIDATION:
            code = (event.get("data") or {}).get("validationCode")
            if not code:
                raise PlatformError("the handshake of Event Grid carries no validationCode")
            return Handshake(str(code))
    return events


def named_files(events: Sequence[Mapping[str, Any]], address: str) -> list[str]:
    """The files in a landing that events tell of, each once.

    Args:
        events: other kinds than BlobCreated are passed over.
        address: of the landing.

    Raises:
        PlatformError: an event tells of another place, or is not whole. An event says what is read with our login, so
            it has to be about the landing that we watch.
    """
    base = address if "://" in address else f"file://{quote(address)}"
    found: dict[str, None] = {}
    for event in events:
        data = event.get("data")
        if _kind(event) != BLOB_CREATED:
            continue
        url = data.get("url") if isinstance(data, dict) else None
        if not isinstance(url, str) or not isinstance(data, dict):
            raise PlatformError(f"event {event.get('id')} names no file: data.url is missing")
        name = _below(url, base)
        if name is None:
            raise PlatformError(
                f"event {event.get('id')} is about {url}, which is not in {address}"
            )
        if data.get("api") not in _NOT_YET:
            found[name] = None
    return list(found)


def _kind(event: Mapping[str, Any]) -> Any:
    return event.get("eventType") or event.get("type")


def _below(url: str, base: str) -> str | None:
    there, here = urlsplit(url), urlsplit(base.rstrip("/") + "/")
    # Data Lake Storage sends events with the address of its other endpoint.
    host = there.netloc.replace(".dfs.core.windows.net", ".blob.core.windows.net")
    if (there.scheme, host) != (here.scheme, here.netloc):
        return None
    path, folder = unquote(there.path), unquote(here.path)
    name = path.removeprefix(folder)
    return name if path.startswith(folder) and name and ".." not in name.split("/") else None
