"""What the sink takes and refuses, and that nothing that is sent to it ends it."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from insurance_claims.errors import ClaimsError
from ml_service.monitoring import sink as sinks
from ml_service.monitoring import store
from ml_service.monitoring.connection import FILE, folder_of, local_connection
from ml_service.monitoring.sink import BODY_BYTES
from ml_service.monitoring.telemetry import Kind
from tests.ml_service.monitoring.conftest import RunningSink

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


def _envelope(sink: RunningSink, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "iKey": sink.connection.key,
        "time": "2026-11-21T10:00:00.123456Z",
        "tags": {},
        "data": {"baseType": "EventData", "baseData": {"name": name, "properties": {}}},
        **changes,
    }


def _post(
    sink: RunningSink, body: bytes, path: str = "/v2.1/track", **headers: str
) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(sink.connection.endpoint + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def _names(sink: RunningSink) -> list[str]:
    return [event.name for event in sink.store.records(Kind.EVENT, BEGIN)]


@pytest.mark.parametrize("path", ["/v2.1/track", "/v2/track", "//v2.1/track"])
def test_a_list_is_taken_at_each_address(sink: RunningSink, path: str) -> None:
    status, answer = _post(sink, json.dumps([_envelope(sink, f"at {path}")] * 2).encode(), path)
    assert (status, answer) == (200, {"itemsReceived": 2, "itemsAccepted": 2, "errors": []})
    assert _names(sink).count(f"at {path}") == 2


def test_objects_by_line_and_a_single_object_are_taken(sink: RunningSink) -> None:
    lines = "\n\n".join(json.dumps(_envelope(sink, f"line {number}")) for number in range(3))
    assert _post(sink, lines.encode())[1]["itemsAccepted"] == 3
    assert _post(sink, json.dumps(_envelope(sink, "alone")).encode())[1]["itemsAccepted"] == 1
    assert {"line 0", "line 2", "alone"} <= set(_names(sink))


def test_gzip_is_taken_and_damaged_gzip_is_refused(sink: RunningSink) -> None:
    body = gzip.compress(json.dumps([_envelope(sink, "packed")]).encode())
    headers = {"Content-Encoding": "gzip"}
    assert _post(sink, body, **headers)[0] == 200
    assert "packed" in _names(sink)
    for damaged in (body[:-12], b"not gzip at all"):
        assert _post(sink, damaged, **headers)[0] == 400


def test_a_body_above_the_limit_is_refused_also_where_it_was_small_when_packed(
    sink: RunningSink,
) -> None:
    large = b"[" + b" " * BODY_BYTES + b"]"
    assert _post(sink, large)[0] == 413
    assert _post(sink, gzip.compress(large), **{"Content-Encoding": "gzip"})[0] == 413
    assert _post(sink, json.dumps([_envelope(sink, "small")]).encode())[0] == 200


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff\xfe", b"{", b"[1,", b"12\n"])
def test_a_body_that_holds_no_envelopes_is_refused(sink: RunningSink, body: bytes) -> None:
    status, answer = _post(sink, body)
    assert status == 400
    assert answer["itemsAccepted"] == 0 and answer["errors"]


BAD: list[tuple[str, dict[str, Any]]] = [
    ("instrumentation key", {"iKey": "00000000-0000-0000-0000-000000000000"}),
    ("instrumentation key", {"iKey": None}),
    ("time", {"time": "yesterday"}),
    ("time", {"time": 12}),
    ("baseType", {"data": None}),
    ("baseType", {"data": {"baseType": "PageViewData", "baseData": {}}}),
    ("baseData", {"data": {"baseType": "EventData", "baseData": []}}),
    ("name", {"data": {"baseType": "EventData", "baseData": {}}}),
    ("name", {"data": {"baseType": "EventData", "baseData": {"name": "x" * 513}}}),
    ("properties", {"data": {"baseType": "EventData", "baseData": {"properties": [1]}}}),
    ("a is not a number", {"data": {"baseType": "EventData", "baseData": {"name": "x", "measurements": {"a": "1"}}}}),
    ("metrics", {"data": {"baseType": "MetricData", "baseData": {"metrics": []}}}),
    ("value", {"data": {"baseType": "MetricData", "baseData": {"metrics": [{"name": "m", "value": True}]}}}),
    ("count", {"data": {"baseType": "MetricData", "baseData": {"metrics": [{"name": "m", "value": 1, "count": 0}]}}}),
    ("exceptions", {"data": {"baseType": "ExceptionData", "baseData": {"exceptions": {}}}}),
    ("message", {"data": {"baseType": "MessageData", "baseData": {}}}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "changes"), BAD)
def test_a_malformed_envelope_is_refused_alone(
    sink: RunningSink, reason: str, changes: dict[str, Any]
) -> None:
    name = f"beside {changes}"[:500]
    body = [_envelope(sink, name), _envelope(sink, "bad", **changes), "no object"]
    status, answer = _post(sink, json.dumps(body).encode())
    assert (status, answer["itemsReceived"], answer["itemsAccepted"]) == (206, 3, 1)
    assert [(error["index"], error["statusCode"]) for error in answer["errors"]] == [
        (1, 400),
        (2, 400),
    ]
    assert reason in answer["errors"][0]["message"]
    assert _names(sink).count(name) == 1 and "bad" not in _names(sink)


def test_a_batch_of_nothing_good_is_refused_whole(sink: RunningSink) -> None:
    status, answer = _post(sink, json.dumps([_envelope(sink, "x", iKey="wrong")]).encode())
    assert (status, answer["itemsAccepted"]) == (400, 0)


def test_the_senders_time_is_kept_beside_the_time_of_arrival(sink: RunningSink) -> None:
    begin = datetime.now(UTC)
    moments = {"fast clock": "2031-01-01T00:00:00Z", "slow clock": "2021-01-01T02:00:00+02:00"}
    body = [_envelope(sink, name, time=time) for name, time in moments.items()]
    assert _post(sink, json.dumps(body).encode())[0] == 200
    found = {e.name: e for e in sink.store.records(Kind.EVENT, BEGIN) if e.name in moments}
    assert found["fast clock"].time == datetime(2031, 1, 1, tzinfo=UTC)
    assert found["slow clock"].time == datetime(2021, 1, 1, tzinfo=UTC)
    for event in found.values():
        assert event.arrived is not None and begin <= event.arrived <= datetime.now(UTC)


@pytest.fixture
def own_sink(tmp_path: Path) -> Iterator[RunningSink]:
    """A sink of one test."""
    running = RunningSink(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database may not grow, as on a disk that is full."""
    monkeypatch.setattr(store, "_SCHEMA", store._SCHEMA + "PRAGMA max_page_count = 8;")


# Full before the sink is started, which opens its database at a moment of its own.
def test_a_full_disk_is_answered_so_that_senders_try_again_and_is_survived(
    full_disk: None, own_sink: RunningSink
) -> None:
    body = json.dumps([_envelope(own_sink, "x" * 500) for _ in range(200)]).encode()
    status, answer = _post(own_sink, body)
    assert status == 503
    assert answer["itemsAccepted"] == 0 and "disk is full" in answer["errors"][0]["message"]
    assert _names(own_sink) == []
    assert _post(own_sink, json.dumps([_envelope(own_sink, "small")]).encode())[0] == 200


def test_a_sink_that_is_started_again_is_the_same_for_its_senders(tmp_path: Path) -> None:
    first = RunningSink(tmp_path)
    _post(first, json.dumps([_envelope(first, "before")]).encode())
    text = local_connection(tmp_path)
    assert text == first.connection.text
    first.stop()
    assert local_connection(tmp_path) is None
    again = RunningSink(tmp_path, int(first.connection.endpoint.rpartition(":")[2]))
    assert local_connection(tmp_path) == text
    _post(again, json.dumps([_envelope(first, "after")]).encode())
    assert _names(again) == ["before", "after"]
    again.stop()


def test_the_connection_is_readable_by_its_owner_alone(sink: RunningSink) -> None:
    file = folder_of(sink.home) / FILE
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert sink.connection.key not in repr(sink.connection)


@pytest.mark.parametrize("content", [None, "", "nonsense", "InstrumentationKey=x"])
def test_there_is_no_local_connection_without_a_sound_file(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        folder_of(tmp_path).mkdir(parents=True)
        (folder_of(tmp_path) / FILE).write_text(content)
    assert local_connection(tmp_path) is None


def test_what_is_older_than_the_retention_goes(own_sink: RunningSink) -> None:
    _post(own_sink, json.dumps([_envelope(own_sink, "old")]).encode())
    own_sink.store.prune(datetime.now(UTC) - timedelta(hours=1))
    assert _names(own_sink) == ["old"]
    own_sink.store.prune(datetime.now(UTC) + timedelta(hours=1))
    assert _names(own_sink) == []


def test_the_sink_listens_on_loopback_alone(sink: RunningSink) -> None:
    port = int(sink.connection.endpoint.rpartition(":")[2])
    other = [address for _, _, _, _, address in socket.getaddrinfo(socket.gethostname(), port)]
    for address in {str(found[0]) for found in other if not str(found[0]).startswith("127.")}:
        with pytest.raises(OSError):
            socket.create_connection((address, port), 2).close()


def test_what_is_to_be_done_every_hour_is_done_again_also_after_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sinks, "_HOUR_SECONDS", 0.01)
    done: list[int] = []
    again = asyncio.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            done.append(1)
            if len(done) == 1:
                raise ClaimsError("the account is down")
            loop.call_soon_threadsafe(again.set)

        task = asyncio.create_task(sinks.serve(tmp_path, 0, lambda _: None, hourly=work))
        await asyncio.wait_for(again.wait(), 60)
        task.cancel()

    asyncio.run(run())
    assert "the account is down" in caplog.text
