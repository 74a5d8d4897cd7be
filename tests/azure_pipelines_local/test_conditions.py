"""The status functions, with and without a cancelled run."""

from __future__ import annotations

from functools import partial

import pytest

from azure_pipelines_local.conditions import graph_functions, step_functions
from azure_pipelines_local.functions import Arguments, Function
from azure_pipelines_local.records import Result

GOOD, ISSUES, BAD = Result.SUCCEEDED, Result.ISSUES, Result.FAILED
SKIPPED, CANCELED = Result.SKIPPED, Result.CANCELED
NAMES = ("succeeded", "failed", "succeededorfailed", "canceled", "always")


def answers(functions: dict[str, Function], *names: str) -> str:
    """The first letters of the functions that are true."""
    arguments = Arguments([partial(str, name) for name in names])
    true = [name for name in NAMES if functions[name].call(arguments)]
    return " ".join({"succeededorfailed": "either"}.get(name, name) for name in true)


@pytest.mark.parametrize(
    ("before", "canceled", "expected"),
    [
        ([], False, "succeeded either always"),
        ([GOOD, ISSUES], False, "succeeded either always"),
        ([GOOD, BAD], False, "failed either always"),
        ([GOOD, SKIPPED], False, "either always"),
        ([SKIPPED], False, "always"),
        ([CANCELED], False, "always"),
        ([], True, "canceled always"),
        ([GOOD], True, "canceled always"),
        ([BAD], True, "failed canceled always"),
    ],
)
def test_of_jobs_and_stages(before: list[Result], canceled: bool, expected: str) -> None:
    results = {f"job{number}": result for number, result in enumerate(before)}
    assert answers(graph_functions(results, canceled)) == expected


def test_of_named_jobs() -> None:
    functions = graph_functions({"a": GOOD, "b": BAD, "c": SKIPPED}, False)
    assert answers(functions, "A") == "succeeded either always"
    assert answers(functions, "a", "B") == "failed either always"
    assert answers(functions, "c") == "always"
    assert answers(functions, "nobody") == "always"


@pytest.mark.parametrize(
    ("status", "canceled", "expected"),
    [
        (GOOD, False, "succeeded either always"),
        (ISSUES, False, "succeeded either always"),
        (BAD, False, "failed either always"),
        (GOOD, True, "canceled always"),
        (BAD, True, "canceled always"),
    ],
)
def test_of_steps(status: Result, canceled: bool, expected: str) -> None:
    assert answers(step_functions(status, canceled)) == expected
