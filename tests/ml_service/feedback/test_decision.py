"""The rules of retraining, with a clock that is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from insurance_claims.drift.features import FeatureDrift, compare
from insurance_claims.drift.performance import Performance
from insurance_claims.evaluate.intervals import Interval
from ml_service.feedback.decision import Decision, Labelled, decide
from ml_service.feedback.windows import Outcome, WindowReport
from tests.ml_service.feedback.collecting import LIMITS, NOW

HOUR = timedelta(hours=1)
ENOUGH = Labelled(known=100_000, new=2_000, claims=80)
RNG = np.random.default_rng(1)


def _features(moved: float) -> tuple[FeatureDrift, ...]:
    reference = {"ps_reg_01": RNG.normal(size=5_000).round(2)}
    return tuple(compare(reference, {"ps_reg_01": reference["ps_reg_01"] + moved}, LIMITS))


QUIET, MOVED = _features(0.0), _features(1.0)


def _window(number: int, features: tuple[FeatureDrift, ...]) -> WindowReport:
    start = NOW + number * 24 * HOUR
    return WindowReport(3, "claims 1", start, start + 24 * HOUR, 5_000, features)


def _outcome(number: int, claims: int = 100, reasons: tuple[str, ...] = ()) -> Outcome:
    figures = Performance(2_000, claims, 0.04, 0.05, Interval(0.1, 0.05, 0.15), 0.01, 0.005, ())
    return Outcome(3, NOW + number * HOUR, NOW + number * HOUR, figures, reasons, 0.25)


def _decide(
    windows: str = "", outcomes: list[Outcome] | None = None, labelled: Labelled = ENOUGH
) -> Decision:
    """``windows``: one letter each, the oldest first: q is quiet, d has drifted, - was not judged."""
    kinds = {"q": QUIET, "d": MOVED, "-": ()}
    found = [_window(number, kinds[letter]) for number, letter in enumerate(windows)]
    return decide(found, outcomes or [], labelled, None, LIMITS, NOW)


@pytest.mark.parametrize(
    ("windows", "retrain"),
    [("qqq", False), ("qqd", False), ("dqd", True), ("ddq", True), ("ddqqq", False), ("--d", False)]
    + [("d-d", True), ("", False), ("---", False)],
)
def test_drift_in_n_of_the_newest_m_windows_is_a_reason(windows: str, retrain: bool) -> None:
    decision = _decide(windows)
    assert decision.retrain is retrain
    if retrain:
        [reason] = decision.reasons
        assert reason.startswith("drift in 2 of the newest 3 windows: ps_reg_01 (PSI")
        assert reason in decision.describe()
    else:
        assert decision.describe() == "no retraining is needed"


def test_windows_count_by_their_time() -> None:
    windows = [_window(number, MOVED if number < 2 else QUIET) for number in (4, 0, 3, 1, 2)]
    assert not decide(windows, [], ENOUGH, None, LIMITS, NOW).reasons


def test_performance_in_n_of_the_newest_m_is_a_reason() -> None:
    bad = ("Gini 0.1",)
    found = [_outcome(1, reasons=bad), _outcome(2), _outcome(3, reasons=bad)]
    [reason] = _decide(outcomes=found).reasons
    assert reason == "performance in 2 of the newest 3 windows: Gini 0.1"
    assert not _decide(outcomes=[*found, _outcome(4)]).reasons
    # Too few claims say nothing, and push nothing out.
    assert _decide(outcomes=[*found, _outcome(4, claims=5)]).reasons


def test_many_new_rows_are_a_reason() -> None:
    assert not _decide(labelled=Labelled(100_000, 49_999, 2_000)).reasons
    [reason] = _decide(labelled=Labelled(100_000, 50_000, 2_000)).reasons
    assert reason == "50,000 new labelled rows beside 100,000 known ones"


def test_nothing_to_learn_from_holds_it_back() -> None:
    decision = _decide("ddd", labelled=Labelled(100_000, 2_000, LIMITS.minimum_claims - 1))
    assert decision.reasons and not decision.retrain
    assert "mlops labels add" in decision.describe()


def test_it_cools_down() -> None:
    windows = [_window(number, MOVED) for number in range(3)]
    for hours, retrain in ((0, False), (71.9, False), (72, True), (-1, True)):
        last = NOW - hours * HOUR
        decision = decide(windows, [], ENOUGH, last, LIMITS, NOW)
        assert decision.retrain is retrain, hours
        if hours > 0 and not retrain:
            assert "the next may be at" in decision.held_back
    patient = replace(ENOUGH, claims=0)
    assert "claims are known" in decide(windows, [], patient, NOW, LIMITS, NOW).held_back
