"""W3C Trace Context: read, continued, and refused where it is malformed."""

from __future__ import annotations

import pytest

from insurance_claims.monitoring.trace import continued, of_process

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"


def test_a_trace_is_continued_as_a_part_of_its_own() -> None:
    first, second = continued(GIVEN), continued(f" {GIVEN} ")
    assert first is not None and second is not None
    assert (first.trace_id, first.parent_id) == (TRACE, PARENT)
    assert len({first.span_id, second.span_id, PARENT}) == 3
    again = continued(first.header)
    assert again is not None and (again.trace_id, again.parent_id) == (TRACE, first.span_id)


def test_a_later_version_with_more_fields_is_read() -> None:
    assert continued(f"01-{TRACE}-{PARENT}-01-more") is not None


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"{GIVEN}x",
        f"{GIVEN}\n{GIVEN}",
    ],
)
def test_a_malformed_header_starts_nothing(given: str | None) -> None:
    assert continued(given) is None


def test_the_processes_of_one_run_share_a_trace() -> None:
    assert of_process({}, "run").trace_id == of_process({}, "run").trace_id
    assert of_process({}, "run").span_id != of_process({}, "run").span_id
    assert of_process({}, "run").trace_id != of_process({}, "other").trace_id
    assert of_process({}).trace_id != of_process({}).trace_id
    assert of_process({"TRACEPARENT": GIVEN}, "run").trace_id == TRACE
