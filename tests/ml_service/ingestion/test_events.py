"""Events as Event Grid sends them, and as the watcher makes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_service.ingestion.events import Handshake, blob_created, named_files, parse_events
from ml_service.ingestion.landing import Arrival
from ml_service.platforms.base import PlatformError

ADDRESS = "https://claims.blob.core.windows.net/landing"


def event(**changes: Any) -> dict[str, Any]:
    """An event in the shape that Microsoft documents."""
    data = {
        "api": "PutBlockList",
        "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
        "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
        "eTag": "0x8D4BCC2E4835CD0",
        "contentType": "text/csv",
        "contentLength": 524288,
        "blobType": "BlockBlob",
        "url": f"{ADDRESS}/2026/Sch%C3%A4den%20Q1.csv",
        "sequencer": "00000000000004420000000000028963",
        "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
    }
    return {
        "topic": "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/claims",
        "subject": "/blobServices/default/containers/landing/blobs/2026/Schäden Q1.csv",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-06-26T18:41:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {**data, **changes},
        "dataVersion": "",
        "metadataVersion": "1",
    }


def files(*events: dict[str, Any], address: str = ADDRESS) -> list[str]:
    found = parse_events(json.dumps(events))
    assert isinstance(found, list)
    return named_files(found, address)


def test_an_event_names_a_file() -> None:
    assert files(event()) == ["2026/Schäden Q1.csv"]
    assert files(event(), event(), event(url=f"{ADDRESS}/b.csv")) == [
        "2026/Schäden Q1.csv",
        "b.csv",
    ]


def test_cloud_events_are_read_too() -> None:
    plain = event()
    cloud = {
        **{"specversion": "1.0", "type": plain["eventType"], "source": plain["topic"]},
        **{"id": "1", "time": plain["eventTime"], "data": plain["data"]},
    }
    found = parse_events(json.dumps(cloud))
    assert isinstance(found, list)
    assert named_files(found, ADDRESS) == ["2026/Schäden Q1.csv"]


def test_the_other_endpoint_of_data_lake_storage_is_the_same_place() -> None:
    url = "https://claims.dfs.core.windows.net/landing/a.csv"
    assert files(event(api="FlushWithClose", url=url)) == ["a.csv"]


@pytest.mark.parametrize("api", ["CreateFile", "SftpCreate"])
def test_a_file_that_is_only_begun_is_waited_for(api: str) -> None:
    assert files(event(api=api)) == []


def test_other_kinds_of_events_are_passed_over() -> None:
    assert files({**event(), "eventType": "Microsoft.Storage.BlobDeleted"}) == []


def test_the_handshake_is_answered() -> None:
    handshake = {
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "topic": "/subscriptions/1",
        "subject": "",
        "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6", "validationUrl": "x"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-01-25T22:12:19.4556811Z",
        "metadataVersion": "1",
        "dataVersion": "1",
    }
    found = parse_events(json.dumps([handshake]))
    assert isinstance(found, Handshake)
    assert found.answer() == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    with pytest.raises(PlatformError, match="no validationCode"):
        parse_events(json.dumps([{**handshake, "data": {}}]))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.blob.core.windows.net/landing/a.csv",
        "https://claims.blob.core.windows.net/landing2/a.csv",
        "https://claims.blob.core.windows.net/other/a.csv",
        "http://claims.blob.core.windows.net/landing/a.csv",
        f"{ADDRESS}/../other/a.csv",
        f"{ADDRESS}/%2e%2e/other/a.csv",
        f"{ADDRESS}/",
        "file:///etc/passwd",
    ],
)
def test_an_event_about_another_place_is_refused(url: str) -> None:
    with pytest.raises(PlatformError, match="which is not in"):
        files(event(url=url))


@pytest.mark.parametrize("text", ["", "x", "[]", "1", "[1]", "{}", '[{"eventType": ""}]'])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(PlatformError, match="this is no event"):
        parse_events(text)


def test_an_event_without_an_address_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"data\.url is missing"):
        files({**event(), "data": None})
    with pytest.raises(PlatformError, match=r"data\.url is missing"):
        files(event(url=None))


@pytest.mark.parametrize("address", [ADDRESS, "/srv/länd ing", "http://127.0.0.1:1/dev/landing"])
@pytest.mark.parametrize("name", ["a.csv", "2026/Schäden Q1 #1 100%.csv", "a?b=c&d.csv"])
def test_what_is_made_here_has_the_shape_of_azures(address: str, name: str) -> None:
    arrival = Arrival(name, "0x1", 5, "2026-01-02T03:04:05+00:00", whole=True)
    made = blob_created(address, arrival)
    assert files(made, address=address) == [name]
    assert made.keys() == event().keys()
    assert made["data"].keys() <= event()["data"].keys()
    assert made == blob_created(address, arrival)
    assert made["id"] != blob_created(address, Arrival(name, "0x2", 5, "", whole=True))["id"]
