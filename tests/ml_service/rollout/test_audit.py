"""The audit log: appended to, read back, and whole but for a torn line."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_service.platforms.base import PlatformError
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.rollout.audit import AUDIT_LOG, AuditLog, AuditRecord

RECORD = AuditRecord(
    key="a",
    time=datetime(2026, 1, 5, 8, tzinfo=UTC),
    who="Zoë",
    what="rollback",
    why="too many\nerrors",
    environment="production",
    before=2,
    after=1,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / AUDIT_LOG


@pytest.fixture
def log(path: Path) -> AuditLog:
    return AuditLog(LocalDocuments(path.parent))


def test_records_come_back_in_order(log: AuditLog, path: Path) -> None:
    assert log.read().records == ()
    records = [replace(RECORD, key=key) for key in "abc"]
    assert all(log.append(record) for record in records)
    assert log.read().records == tuple(records)
    assert log.read().torn_lines == ()
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_the_same_event_is_written_once(log: AuditLog) -> None:
    assert log.append(RECORD)
    assert not log.append(replace(RECORD, why="again"))
    assert log.read().records == (RECORD,)


def test_what_is_there_is_never_changed(log: AuditLog, path: Path) -> None:
    log.append(RECORD)
    before = path.read_bytes()
    log.append(replace(RECORD, key="b"))
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize("kept", [1, 20, -2, -1])
def test_a_torn_last_line_is_reported_and_swallows_nothing(
    log: AuditLog, path: Path, kept: int
) -> None:
    log.append(RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    trail = log.read()
    complete = kept == -1
    assert trail.torn_lines == (() if complete else (2,))
    later = replace(RECORD, key="later")
    log.append(later)
    assert log.read().records[-1] == later
    assert log.read().records[0] == RECORD
    assert log.read().torn_lines == trail.torn_lines


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], tuple[int, ...]]] = {
    "nothing": (lambda lines: lines, ()),
    "changed": (lambda lines: [lines[0], lines[1].replace(b"Zo", b"Za"), *lines[2:]], (3,)),
    "taken out": (lambda lines: [lines[0], *lines[2:]], (2,)),
    "first taken out": (lambda lines: lines[1:], (1,)),
    "put in": (lambda lines: [lines[0], lines[0], *lines[1:]], (2,)),
    "put in without a link": (
        lambda lines: [lines[0], lines[0].replace(b"_sha256", b""), *lines[1:]],
        (2, 3),
    ),
    "in another order": (lambda lines: [lines[0], lines[2], lines[1], lines[3]], (2, 3, 4)),
    "torn on purpose": (lambda lines: [lines[0], lines[1][:30], *lines[2:]], (3,)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_lines_that_were_changed_are_named(log: AuditLog, path: Path, name: str) -> None:
    for key in "abcd":
        log.append(replace(RECORD, key=key))
    change, unlinked = CHANGES[name]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert log.read().unlinked_lines == unlinked
    log.append(replace(RECORD, key="later"))
    assert log.read().unlinked_lines == unlinked


def test_a_log_from_before_there_were_links_goes_on(log: AuditLog, path: Path) -> None:
    for key in "ab":
        log.append(replace(RECORD, key=key))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    old = [{key: value for key, value in line.items() if "sha256" not in key} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    log.append(replace(RECORD, key="c"))
    assert [record.key for record in log.read().records] == ["a", "b", "c"]
    assert log.read().unlinked_lines == ()
    path.write_text(path.read_text().replace('"b"', '"x"'))
    assert log.read().unlinked_lines == (3,)


def test_of_two_that_write_the_same_event_at_the_same_moment_one_does(path: Path) -> None:
    def write(_: int) -> bool:
        return AuditLog(LocalDocuments(path.parent)).append(RECORD)

    with ThreadPoolExecutor(4) as people:
        written = list(people.map(write, range(4)))
    assert sorted(written) == [False, False, False, True]


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="cannot be written: .*; free space"):
        AuditLog(LocalDocuments(tmp_path / "file")).append(RECORD)
