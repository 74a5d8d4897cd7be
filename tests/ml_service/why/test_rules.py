"""Each rule names its cause, and none where its evidence is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml_service.platforms.base import PipelineRun, RunStatus
from ml_service.why.changes import Change, Changes, DataChange
from ml_service.why.evidence import Evidence, Resources
from ml_service.why.failure import Failure
from ml_service.why.refusal import Refusal, Suspect
from ml_service.why.report import describe
from ml_service.why.rules import Rule, verdict
from ml_service.why import rules

GOOD = PipelineRun("g" * 32, "training", RunStatus.COMPLETED, "2026-11-20T10:00:00", 9.0, {}, ())
BAD = replace(GOOD, id="b" * 32, status=RunStatus.FAILED, error="step train failed: a reason")
CONTRACT = (
    "the data breaks its contract. 900 rows: {} problem\n  {}\n"
    "  warning: 1 columns are not of the schema and are carried along: ps_car_engine"
)


def evidence(
    message: str = "a reason",
    kind: str = "",
    places: tuple[str, ...] = (),
    signal: str | None = None,
    changes: Changes = Changes(),
    peaks: tuple[float | None, float | None] = (None, None),
) -> Evidence:
    """Of a step that failed."""
    failure = Failure("train", kind, message, places, signal)
    return Evidence(BAD, GOOD, failure, None, Resources(3.0, 2.0, *peaks), changes=changes)


def refusal(*checks: str, suspects: tuple[Suspect, ...] = ()) -> Evidence:
    """Of a model that the gate refused."""
    found = Refusal(checks, tuple(f"{name} is not passed." for name in checks), suspects)
    return Evidence(replace(BAD, status=RunStatus.COMPLETED, error=None), GOOD, refusal=found)


PACKAGES = Changes(packages=(Change("pandera", "0.35.0", "0.23.1"), Change("pyyaml", "6", "7")))
PARAMETERS = Changes(
    parameters=(
        Change("training.lightgbm.num_leaves", "4", "1000000"),
        Change("training.seed", "1", "2"),
    )
)
LEAK = refusal("plausible_gini", suspects=(Suspect("ps_ind_14", 0.99), Suspect("ps_reg_01", 0.1)))
KILLED = evidence("ended by SIGKILL: ...", signal="SIGKILL", peaks=(1234.5, 200.0))


@pytest.mark.parametrize(
    ("rule", "found", "says"),
    [
        (
            rules.broken_contract,
            evidence(CONTRACT.format(1, "ps_car_13: the column is missing")),
            "column ps_car_13 is missing, and ps_car_engine is there",
        ),
        (
            rules.broken_contract,
            evidence(
                "the data breaks its contract. 9 rows: 1 problem\n  ps_car_13: the column is missing"
            ),
            "column ps_car_13 is missing",
        ),
        (
            rules.broken_contract,
            evidence(
                "the data breaks its contract. 9 rows: 1 problem\n  ps_ind_01: 2 rows hold 99"
            ),
            "in column ps_ind_01: 2 rows hold 99",
        ),
        (
            rules.changed_package,
            evidence("No module named 'pandera.pandas'", "ModuleNotFoundError", changes=PACKAGES),
            "package pandera, which changed from 0.35.0 to 0.23.1",
        ),
        (
            rules.changed_package,
            evidence(
                "oops", "TypeError", ("site-packages/yaml/loader.py:3 in f",), changes=PACKAGES
            ),
            "package pyyaml, which changed from 6 to 7",
        ),
        (
            rules.out_of_memory,
            KILLED,
            "step train was killed (signal 9), probably out of memory: peak 1,234 MB, 200 MB in the last good run",
        ),
        (
            rules.out_of_memory,
            evidence("ended by SIGSEGV", signal="SIGSEGV"),
            "step train was ended by SIGSEGV (signal 11)",
        ),
        (
            rules.out_of_memory,
            evidence("Unable to allocate 4 GiB", "ArrayMemoryError", ("train.py:3 in f",)),
            "step train ran out of memory, at train.py:3 in f: Unable to allocate 4 GiB (peak not known)",
        ),
        (
            rules.bad_parameter,
            evidence(
                "training.lightgbm: LightGBM refuses it: num_leaves <= 131072", changes=PARAMETERS
            ),
            "parameter training.lightgbm.num_leaves is 1000000, outside its range; it was 4",
        ),
        (
            rules.bad_parameter,
            evidence(
                "parameters.yml is not valid:\n  training.folds: too small", "ParametersError"
            ),
            "a parameter is refused: parameters.yml is not valid: training.folds: too small",
        ),
        (
            rules.wrong_target,
            evidence("/runs/dataset: target is no number: prepare the dataset again", "DataError"),
            "column target has another type",
        ),
        (
            rules.leaking_feature,
            LEAK,
            "feature ps_ind_14 knows the outcome: by itself it reaches a Gini of 0.99",
        ),
        (
            rules.refused,
            refusal("minimum_gini"),
            "the gate refused the model: minimum_gini is not passed.",
        ),
        (
            rules.changed_code,
            evidence(
                "oops",
                "KeyError",
                ("insurance_claims/a.py:3 in f", "site-packages/numpy/b.py:1 in g"),
                changes=Changes(files=("insurance_claims/a.py (+1 -0)",)),
            ),
            "insurance_claims/a.py changed since the last good run, and KeyError was raised at insurance_claims/a.py:3",
        ),
        (
            rules.stopped,
            replace(
                evidence(changes=PARAMETERS),
                run=replace(BAD, status=RunStatus.CANCELLED, error="interrupted"),
            ),
            "it was not let end: interrupted, after 3.0 s in a step that took 2.0 s in the last good run. Since the "
            "last good run changed: training.lightgbm.num_leaves: 4 -> 1000000",
        ),
        (rules.anything, evidence("oops", "KeyError"), "KeyError: oops"),
    ],
)
def test_a_rule_names_its_cause(rule: Rule, found: Evidence, says: str) -> None:
    assert says in (rule(found) or "")
    assert verdict(found) == rule(found)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (rules.broken_contract, evidence("another reason")),
        (rules.broken_contract, LEAK),
        (
            rules.changed_package,
            evidence("No module named 'numpy'", "ModuleNotFoundError", changes=PACKAGES),
        ),
        (
            rules.changed_package,
            evidence("No module named 'pandera.pandas'", "ModuleNotFoundError"),
        ),
        (rules.out_of_memory, evidence("oops", "KeyError")),
        (rules.bad_parameter, evidence("column num_leaves", "DataError", changes=PARAMETERS)),
        (rules.wrong_target, evidence("ps_ind_01 is no number", "DataError")),
        (rules.leaking_feature, refusal("minimum_gini", suspects=(Suspect("ps_ind_14", 0.9),))),
        (rules.refused, KILLED),
        (rules.changed_code, evidence("oops", "KeyError", ("insurance_claims/a.py:3 in f",))),
        (rules.stopped, KILLED),
    ],
)
def test_a_rule_says_nothing_without_its_evidence(rule: Rule, found: Evidence) -> None:
    assert rule(found) is None


def test_the_first_rule_that_has_something_to_say_counts() -> None:
    message = CONTRACT.format(1, "target: 9 rows hold text where a number is expected")
    assert verdict(evidence(message, "DataError")) == rules.broken_contract(evidence(message))


def test_nothing_is_wrong_with_a_good_run() -> None:
    found = Evidence(GOOD)
    assert verdict(found) is None
    assert "found nothing wrong" in describe(found, None)


def test_the_report_says_what_it_rests_on() -> None:
    changes = Changes(
        commits=tuple(f"abc{number} commit {number}" for number in range(30)),
        files=("insurance_claims/a.py (+1 -0)",),
        uncommitted=("notes.txt (new)",),
        parameters=PARAMETERS.parameters,
        packages=PACKAGES.packages,
        data=(DataChange(Change("claims", "version 1", "version 2"), ()),),
        unknown=("something",),
    )
    found = replace(KILLED, changes=changes, log=("the last line",), warnings=("a warning",))
    text = describe(found, verdict(found))
    first, second = text.splitlines()[:2]
    assert first == "run bbbbbbbb of training: failed"
    assert second.startswith("most likely: step train was killed (signal 9)")
    for line in (
        *(
            "duration   3.0 s (last good run: 2.0)",
            "memory     1,234.5 MB at most (last good run: 200.0)",
        ),
        *(
            "the last line",
            "a warning",
            "changed since the last good run, gggggggg of 2026-11-20T10:00:00",
        ),
        *(
            "abc19 commit 19",
            "and 10 more",
            "notes.txt (new)",
            "pandera: 0.35.0 -> 0.23.1",
            "something",
        ),
        "claims: version 1 -> version 2",
    ):
        assert line in text
    assert "abc20" not in text
