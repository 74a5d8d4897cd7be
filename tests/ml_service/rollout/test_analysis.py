"""Verdicts: harm and health both have to be shown."""

from __future__ import annotations

import numpy as np
import pytest

from insurance_claims.monitoring.observations import Observations
from ml_service.rollout.analysis import ALL_FAILED, Analysis, Finding, Verdict, compare
from ml_service.rollout.comparison import UNKNOWN, Estimate
from ml_service.rollout.plan import Plan, load_plan
from tests.ml_service.rollout.simulation import GOOD, Behavior

PLAN = load_plan()


def judge(
    canary: Behavior, requests: int, plan: Plan = PLAN, production: Behavior = GOOD
) -> Analysis:
    random = np.random.default_rng(requests)
    seen = canary.observe(requests, random), production.observe(9 * requests, random)
    return compare(*seen, plan, plan.stages[0])


def test_an_equal_canary_is_healthy_once_there_is_enough() -> None:
    found = judge(GOOD, 8000)
    assert found.verdict is Verdict.HEALTHY
    assert len(found.findings) == 7
    assert all(finding.within and not finding.harmful for finding in found.findings)


@pytest.mark.parametrize(
    ("canary", "metric"),
    [
        (Behavior(error_rate=0.02), "error rate difference"),
        (Behavior(slowness=3), "latency p95 ratio"),
        (Behavior(constant=0.0365), "score PSI"),
        (Behavior(score=1.2), "score mean difference"),
        (Behavior(score=0.8), "score mean difference"),
    ],
)
def test_harm_is_named_with_its_interval(canary: Behavior, metric: str) -> None:
    found = judge(canary, 8000)
    assert found.verdict is Verdict.UNHEALTHY
    [reason] = [reason for reason in found.reasons if reason.startswith(metric)]
    assert " to " in reason and "limit" in reason and reason.endswith("too much")


@pytest.mark.parametrize("requests", [0, 1, 5, 50, 200, 999])
def test_too_little_traffic_is_never_a_pass(requests: int) -> None:
    perfect = Behavior(error_rate=0.0)
    found = judge(perfect, requests, production=perfect)
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert f"canary answered {requests:,} of at least 1,000 requests" in found.reasons


def test_enough_requests_with_wide_intervals_are_not_enough_evidence() -> None:
    found = judge(GOOD, 1500)
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert all("may still be too much" in reason for reason in found.reasons)


def test_a_canary_that_fails_all_is_dead_at_once() -> None:
    failing = Observations(requests=ALL_FAILED, errors=ALL_FAILED)
    answering = Observations.of([4.0] * 20, [0.03] * 20)
    found = compare(failing, answering, PLAN, PLAN.stages[0])
    assert found.verdict is Verdict.UNHEALTHY
    assert found.reasons == ("all 10 requests to the canary failed, production answers",)
    few = Observations(requests=ALL_FAILED - 1, errors=ALL_FAILED - 1)
    assert compare(few, answering, PLAN, PLAN.stages[0]).verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_what_fails_for_both_is_not_the_canarys_fault() -> None:
    failing = Observations(requests=5000, errors=5000)
    found = compare(failing, failing, PLAN, PLAN.stages[0])
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_scores_of_another_time_are_not_compared() -> None:
    random = np.random.default_rng(1)
    canary = Behavior(score=1.5).observe(9000, random)
    before = GOOD.observe(9000, random)
    found = compare(canary, before, PLAN, PLAN.stages[-1], same_time=False)
    assert found.verdict is Verdict.HEALTHY
    assert {finding.metric.split()[0] for finding in found.findings} == {"error", "latency"}
    slow = Behavior(slowness=3).observe(9000, random)
    found = compare(slow, before, PLAN, PLAN.stages[-1], same_time=False)
    assert found.verdict is Verdict.UNHEALTHY


def test_labels_can_show_harm_and_nobody_waits_for_them() -> None:
    labelled = Behavior(labelled=1.0)
    found = judge(Behavior(labelled=1.0, bias=0.05), 20_000, production=labelled)
    assert found.verdict is Verdict.UNHEALTHY
    assert found.reasons[0].startswith("calibration difference")
    few = Behavior(labelled=0.02)
    found = judge(few, 8000, production=few)
    assert found.findings[-1].metric == "calibration difference"
    assert not found.findings[-1].within
    assert found.verdict is Verdict.HEALTHY


def test_looking_often_does_not_find_harm_that_is_not_there() -> None:
    """A canary exactly at its limit, looked at forty times: the hardest case in which nothing is wrong."""
    limit, rate, runs, most = 0.005, 0.001, 300, 20_000
    limits = PLAN.limits.model_copy(
        update={
            "error_rate": limit,
            "latency_ratio": {},
            "score_psi": None,
            "score_ks": None,
            "score_mean": None,
            "calibration": None,
        }
    )
    plan = PLAN.model_copy(update={"limits": limits, "alpha": 0.2})
    random = np.random.default_rng(7)
    looks = np.geomspace(100, most, 40).astype(int)
    called, textbook = 0, 0
    for _ in range(runs):
        ours = np.sort(random.integers(1, most + 1, random.binomial(most, rate + limit)))
        theirs = np.sort(random.integers(1, most + 1, random.binomial(9 * most, rate)))
        errors = np.stack([np.searchsorted(side, looks, "right") for side in (ours, theirs)])
        called += any(
            compare(
                Observations(requests=int(n), errors=int(a)),
                Observations(requests=int(9 * n), errors=int(b)),
                plan,
                plan.stages[0],
            ).verdict
            is Verdict.UNHEALTHY
            for n, a, b in zip(looks, *errors, strict=True)
        )
        p, q = errors / np.stack([looks, 9 * looks])
        error = np.sqrt(p * (1 - p) / looks + q * (1 - q) / (9 * looks))
        textbook += bool((p - q - 1.645 * error > limit).any())
    assert called / runs <= plan.error_of_each_figure
    # The same looks with ordinary intervals of 95%.
    assert textbook / runs > 0.15


def test_a_metric_without_limit_is_not_judged() -> None:
    limits = PLAN.limits.model_copy(update={"score_psi": None, "score_ks": None})
    found = judge(GOOD, 8000, PLAN.model_copy(update={"limits": limits}))
    assert not {"score PSI", "score KS"} & {finding.metric for finding in found.findings}


@pytest.mark.parametrize(
    ("low", "high", "harmful", "within"),
    [
        (0.0, 0.5, False, True),
        (0.5, 1.5, False, False),
        (1.1, 2.0, True, False),
        (1.1, None, True, False),
        (-0.5, 0.5, False, True),
        (-1.5, 0.5, False, False),
        (-3.0, -1.1, True, False),
    ],
)
def test_limits_either_way(low: float, high: float | None, harmful: bool, within: bool) -> None:
    finding = Finding("score mean difference", Estimate(low, low, high), 1.0, either_way=True)
    assert (finding.harmful, finding.within) == (harmful, within)


def test_being_better_than_a_one_sided_limit_is_no_harm() -> None:
    finding = Finding("error rate difference", Estimate(-2, -3.0, -1.1), 1.0)
    assert not finding.harmful and finding.within


def test_the_unknown_is_neither() -> None:
    finding = Finding("score PSI", UNKNOWN, 1.0)
    assert not finding.harmful and not finding.within
    assert "not known yet" in finding.describe()
