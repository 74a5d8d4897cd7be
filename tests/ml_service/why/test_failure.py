"""Exceptions are found in what steps print and in what telemetry has."""

from __future__ import annotations

from datetime import UTC, datetime

from ml_service.monitoring.telemetry import Event, Kind
from ml_service.platforms.base import RunStatus, StepRun
from ml_service.why.failure import Failure, failure_of

PRINTED = """reading
Traceback (most recent call last):
  File "/srv/fork/insurance_claims/step.py", line 61, in run_step
    main(arguments)
  File "/srv/fork/insurance_claims/training/train.py", line 53, in read_rows
    apart = rows[:, None, :]
            ~~~~^^^^^^^^^^^^
  File "/srv/.venv/lib/python3.11/site-packages/numpy/_core/fromnumeric.py", line 57, in _wrapfunc
    return bound(*args, **kwds)
numpy._core._exceptions._ArrayMemoryError: Unable to allocate 4.35 GiB for an array
"""


def step(error: str | None) -> StepRun:
    return StepRun("train", RunStatus.FAILED, 2.0, error)


def sent(kind: str, message: str, traceback: str = "") -> Event:
    properties = {"message": message, "traceback": traceback}
    return Event(Kind.EXCEPTION, datetime.now(UTC), kind, properties)


def test_a_traceback_is_read_without_the_folders_of_its_machine() -> None:
    found = failure_of(step("exit code 1: numpy._core..."), PRINTED, [])
    assert found == Failure(
        step="train",
        kind="ArrayMemoryError",
        message="Unable to allocate 4.35 GiB for an array",
        places=(
            "insurance_claims/step.py:61 in run_step",
            "insurance_claims/training/train.py:53 in read_rows",
            "site-packages/numpy/_core/fromnumeric.py:57 in _wrapfunc",
        ),
    )


def test_an_exception_of_several_lines_is_read_whole() -> None:
    text = "Traceback (most recent call last):\nValueError: one\ntwo\n"
    assert failure_of(step("exit code 1: two"), text, []).message == "one\ntwo"


def test_a_reason_that_a_step_gives_counts_more_than_a_traceback_above_it() -> None:
    printed = PRINTED + "error: the data breaks its contract\n"
    found = failure_of(step("the data breaks its contract"), printed, [])
    assert found == Failure("train", "", "the data breaks its contract")


def test_telemetry_knows_the_type_and_the_places_of_a_reason() -> None:
    places = "/srv/a.py:1 in outer\n/mnt/azureml/insurance_claims/data/validate.py:151 in check"
    found = failure_of(
        step("the reason"), "error: the reason", [sent("DataError", "the reason", places)]
    )
    assert found == Failure(
        "train",
        "DataError",
        "the reason",
        ("/srv/a.py:1 in outer", "insurance_claims/data/validate.py:151 in check"),
    )


def test_a_text_that_telemetry_cut_is_taken_from_the_platform() -> None:
    found = failure_of(step("the whole reason"), "", [sent("DataError", "...hole reason")])
    assert found.message == "the whole reason"


def test_a_signal_is_known_from_the_platform_alone() -> None:
    for said in ("the machine may have run out of memory", "the node may have run out of memory"):
        found = failure_of(step(f"ended by SIGKILL: {said}"), PRINTED, [sent("ValueError", "old")])
        assert (found.signal, found.kind) == ("SIGKILL", "")


def test_a_step_that_never_said_anything_is_described_too() -> None:
    assert failure_of(step(None), "", []).message == "it never said how it ended"
