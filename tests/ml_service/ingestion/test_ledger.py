"""The ledger as documents: what is written is what is read, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from insurance_claims.ingestion.batch import Batch, Claimed
from ml_service.ingestion.ledger import (
    Entry,
    Ledger,
    OpenBatch,
    Record,
    Status,
    due,
    failed,
    ledgers,
)
from ml_service.platforms.base import PlatformError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILE = Claimed("Schäden.csv", "0x1", 9)
HOUR = timedelta(hours=1)


def record(batch: str, *entries: Entry) -> Record:
    return Record(batch, NOW, "/landing", "run", "claims", 3, entries)


@pytest.fixture
def ledger(platform: Any) -> Ledger:
    return Ledger(platform.documents, "key")


def test_a_record_is_read_as_it_was_written(ledger: Ledger, platform: Any) -> None:
    entry = failed(FILE, None, 'a "reason"\nof two lines', 5, NOW, HOUR)
    ledger.append(record("b1", entry))
    assert ledger.read().records == (record("b1", entry),)
    assert [key for key, _ in ledgers(platform.documents)] == ["key"]


def test_a_batch_is_written_once(ledger: Ledger) -> None:
    ledger.append(record("b1"))
    ledger.append(record("b1"))
    ledger.append(record("b2"))
    assert [item.batch for item in ledger.read().records] == ["b1", "b2"]


def test_the_open_batch_is_kept_and_closed(ledger: Ledger, platform: Any) -> None:
    assert ledger.open_batch() is None
    work = OpenBatch(Batch("b1", "2026-01-02", (FILE,)), "run")
    ledger.keep_open(work)
    assert ledger.open_batch() == work
    ledger.keep_open(None)
    assert ledger.open_batch() is None
    platform.documents.write("ingestion/key/open.json", b"{")
    with pytest.raises(PlatformError, match=r"open\.json is damaged"):
        ledger.open_batch()


def test_contents_are_known_by_what_was_accepted_alone(ledger: Ledger) -> None:
    taken = Entry("a.csv", "1", 1, Status.ACCEPTED, sha256="aa")
    refused = Entry("b.csv", "1", 1, Status.QUARANTINED, sha256="bb")
    ledger.append(record("b1", taken, refused))
    book = ledger.read()
    assert book.same_content("aa") == "a.csv"
    assert book.same_content("bb") is None


@pytest.mark.parametrize(
    ("status", "again"),
    [
        *((Status.ACCEPTED, False), (Status.QUARANTINED, False), (Status.DUPLICATE, False)),
        *((Status.DEAD, False), (Status.RETRY, True), (Status.FAILED, True)),
    ],
)
def test_what_is_looked_at_again(status: Status, again: bool) -> None:
    assert due(Entry("a", "1", 1, status), NOW, HOUR) is again
    assert due(None, NOW, HOUR)


def test_waiting_doubles_until_it_is_given_up() -> None:
    before, waits = None, []
    for _ in range(3):
        before = failed(FILE, before, "no", 4, NOW, HOUR)
        assert before.not_before is not None
        waits.append((before.not_before - NOW) / HOUR)
        assert not due(before, NOW, 8 * HOUR)
        assert due(before, before.not_before, 8 * HOUR)
    assert waits == [1, 2, 4]
    last = failed(FILE, before, "no", 4, NOW, HOUR)
    assert (last.status, last.severity, last.not_before) == (Status.DEAD, "error", None)
    assert not due(last, NOW, HOUR)
