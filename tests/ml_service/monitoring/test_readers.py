"""What is sent is read back alike from the sink's store and from Log Analytics."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import (
    LATENCY_EDGES,
    SCORE_EDGES,
    Histogram,
    Moments,
    Observations,
)
from ml_service.monitoring import log_analytics
from ml_service.monitoring.telemetry import Event, Kind, TelemetryError
from tests.ml_service.monitoring.conftest import Way

DAY = timedelta(days=1)
EDGES = (LATENCY_EDGES, SCORE_EDGES)


def _since() -> datetime:
    # Senders keep microseconds; the next moment begins after all that was sent before.
    time.sleep(0.001)
    return datetime.now(UTC)


def test_an_event_arrives_with_its_properties_figures_and_ids(way: Way) -> None:
    since = _since()
    way.emitter.event("promoted", {"model_version": "7", "text": 'a "b"\nc\\d é'}, {"share": 0.25})
    assert way.emitter.flush(20)
    [event] = way.reader.events("promoted", since)
    assert event.kind is Kind.EVENT
    assert event.properties["model_version"] == "7"
    assert event.properties["text"] == 'a "b"\nc\\d é'
    assert event.properties["build_id"] == "20261121.4"
    assert event.properties["environment"] == "production"
    assert event.properties["trace_id"] == way.emitter.trace.trace_id
    assert event.measurements == {"share": 0.25}
    assert since <= event.time <= datetime.now(UTC)
    assert event.arrived is not None and abs(event.arrived - event.time) < DAY


def test_events_are_chosen_by_name_time_and_properties_oldest_first(way: Way) -> None:
    since = _since()
    for number in range(5):
        way.emitter.event("chosen", {"number": str(number), "odd": str(number % 2)})
    way.emitter.event("other", {"odd": "1"})
    assert way.emitter.flush(20)
    found = list(way.reader.events("chosen", since))
    assert [event.properties["number"] for event in found] == ["0", "1", "2", "3", "4"]
    odd = way.reader.events("chosen", since, where={"odd": "1"})
    assert [event.properties["number"] for event in odd] == ["1", "3"]
    both = way.reader.events("chosen", since, where={"odd": "1", "number": "3"})
    assert [event.properties["number"] for event in both] == ["3"]
    # From the third on, and up to but without the fourth.
    some = way.reader.events("chosen", found[2].time, found[3].time)
    assert [event.properties["number"] for event in some] == ["2"]
    assert not list(way.reader.events("chosen", datetime.now(UTC) + DAY))


@pytest.mark.parametrize("value", ['x" or true or "', "x' or 1=1 --", "back\\", '"', "a\nb", "{x}"])
def test_no_value_that_is_asked_for_is_taken_for_a_part_of_the_query(way: Way, value: str) -> None:
    since = _since()
    way.emitter.event("quoted", {"value": value})
    way.emitter.event("quoted", {"value": "another"})
    assert way.emitter.flush(20)
    [event] = way.reader.events("quoted", since, where={"value": value})
    assert event.properties["value"] == value
    assert not list(way.reader.events(value, since))


def test_a_property_with_a_strange_name_is_not_asked_for(way: Way) -> None:
    with pytest.raises(TelemetryError, match="no name of a property"):
        list(way.reader.events("any", _since(), where={'x"]) or true or tostring(P["': "1"}))


def test_what_was_sent_twice_is_read_once(way: Way) -> None:
    since = _since()
    properties = {"item_id": "the same"}
    for _ in range(2):
        way.emitter.event("twice", properties)
    way.emitter.event("twice", {"item_id": "another"})
    assert way.emitter.flush(20)
    assert len(list(way.reader.events("twice", since))) == 2


def test_observations_through_the_wire_equal_the_direct_sum(way: Way) -> None:
    since = _since()
    generator = np.random.default_rng(3)
    parts = [
        Observations.of(generator.exponential(5, 200), generator.random(300), errors, [0.5], [1])
        for errors in range(6)
    ]
    for part in parts:
        way.emitter.event(wire.EVENT, wire.encode(part))
    assert way.emitter.flush(20)
    read = [wire.decode(event.properties) for event in way.reader.events(wire.EVENT, since)]
    assert sum(read, Observations()) == sum(parts, Observations())


def test_the_largest_observations_arrive_whole(way: Way) -> None:
    since = _since()
    every = {edges.size: dict.fromkeys(range(edges.size + 1), 2**63 - 1) for edges in EDGES}
    latencies, scores = (Histogram(every[edges.size]) for edges in EDGES)
    moments = Moments(2**63, 2**93, 2**123)
    largest = Observations(2**63, 2**62, latencies, scores, moments, moments)
    way.emitter.event("largest", wire.encode(largest))
    assert way.emitter.flush(20)
    [event] = way.reader.events("largest", since)
    assert wire.decode(event.properties) == largest
    assert max(map(len, event.properties.values())) < 8192


def test_an_exception_arrives_with_message_and_places(way: Way) -> None:
    since = _since()
    try:
        raise ValueError("column ps_ind_01 is gone")
    except ValueError as error:
        way.emitter.exception(error, {"step": "train"})
    assert way.emitter.flush(20)
    [found] = way.reader.records(Kind.EXCEPTION, since, name="ValueError")
    assert found.properties["message"] == "column ps_ind_01 is gone"
    assert found.properties["step"] == "train"
    assert "test_an_exception_arrives_with_message_and_places" in found.properties["traceback"]


def test_messages_arrive_with_their_level(way: Way) -> None:
    since = _since()
    way.emitter.message("all is well", 20, {"logger": "claims"})
    way.emitter.message("something is odd", 30)
    assert way.emitter.flush(20)
    found = [(e.name, e.properties["message"]) for e in way.reader.records(Kind.MESSAGE, since)]
    assert found == [("information", "all is well"), ("warning", "something is odd")]
    [odd] = way.reader.records(Kind.MESSAGE, since, name="warning")
    assert odd.properties["message"] == "something is odd"


def test_a_metric_is_added_up_by_time_and_property(way: Way) -> None:
    since = _since()
    for value, version in ((1.0, "1"), (3.0, "1"), (10.0, "2")):
        way.emitter.metric("latency", value, {"model_version": version})
    assert way.emitter.flush(20)
    until = datetime.now(UTC)
    [single, *_] = way.reader.records(Kind.METRIC, since, name="latency")
    assert single.measurements == {"value": 1, "count": 1, "minimum": 1, "maximum": 1}
    points = way.reader.series("latency", since, until, DAY, by="model_version")
    assert [(p.key, p.count, p.mean, p.minimum, p.maximum) for p in points] == [
        ("1", 2, 2.0, 1.0, 3.0),
        ("2", 1, 10.0, 10.0, 10.0),
    ]
    assert {point.time for point in points} == {_midnight(since)}
    [both] = way.reader.series("latency", since, until, DAY)
    assert (both.key, both.count, both.total) == ("", 3, 14.0)
    [first] = way.reader.series("latency", since, until, DAY, where={"model_version": "1"})
    assert first.total == 4.0
    assert not way.reader.series("latency", until + DAY, until + 2 * DAY, DAY)


def test_a_stretch_shorter_than_a_second_is_refused(way: Way) -> None:
    since = _since()
    with pytest.raises(TelemetryError, match="too short"):
        way.reader.series("latency", since, since + DAY, timedelta(milliseconds=1))


def test_answers_come_in_pages_without_loss_or_repetition(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_analytics, "_PAGE", 3)
    since = _since()
    for number in range(10):
        way.emitter.event("paged", {"number": str(number)})
    assert way.emitter.flush(20)
    found = [int(e.properties["number"]) for e in way.reader.events("paged", since)]
    assert found == list(range(10))


def test_a_page_of_one_moment_is_made_larger(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_analytics, "_PAGE", 3)
    since = _since()
    with monkeypatch.context() as still:
        still.setattr(time, "time", lambda: since.timestamp() + 1)
        for number in range(8):
            way.emitter.event("at once", {"number": str(number)})
    assert way.emitter.flush(20)
    found: list[Event] = list(way.reader.events("at once", since))
    assert len({event.time for event in found}) == 1
    assert sorted(int(event.properties["number"]) for event in found) == list(range(8))


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
