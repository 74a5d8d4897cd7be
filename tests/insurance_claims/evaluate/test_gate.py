"""The gate's rules on simulated scores: what passes, what is refused, and in which words."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims.errors import DataError, ModelError, ParametersError
from insurance_claims.evaluate.gate import Decision, judge
from insurance_claims.parameters import GateParameters, load_parameters, parse_parameters

Floats = NDArray[np.float64]
SIZE = 20_000
LIMITS = load_parameters().gate


class Population:
    """Customers with known risk, and calibrated models that see it more or less well."""

    def __init__(self, seed: int, size: int = SIZE, claim_rate: float = 0.0364) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth, self.noise = self.rng.normal(size=(2, size))
        self.offset = np.log(claim_rate / (1 - claim_rate))
        self.target = (self.rng.random(size) < self._probability(self.truth, 0.6)).astype(int)
        self.groups = {name: np.arange(size) % 2 for name in LIMITS.slices}

    def _probability(self, seen: Floats, strength: float) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(self.offset - strength**2 / 2 + strength * seen))))

    def model(self, sight: float, own: float = 0.1) -> Floats:
        """Scores of a model whose log odds correlate ``sight`` with the true ones."""
        noise = np.sqrt(1 - own**2) * self.noise + own * self.rng.normal(size=self.truth.size)
        return self._probability(sight * self.truth + np.sqrt(1 - sight**2) * noise, 0.6 * sight)


@pytest.fixture(scope="module")
def people() -> Population:
    return Population(1)


def decide(
    people: Population,
    challenger: Any,
    champion: Any = None,
    latency_ms: float = 0.1,
    **changed: Any,
) -> Decision:
    limits = GateParameters(**{**LIMITS.model_dump(), **changed})
    return judge(people.target, people.groups, challenger, champion, latency_ms, limits)


def failed(decision: Decision) -> dict[str, str]:
    return {check.name: check.reason for check in decision.checks if not check.passed}


def test_a_good_first_model_is_promoted(people: Population) -> None:
    decision = decide(people, people.model(0.9))
    assert decision.promote, failed(decision)
    assert any("no champion yet" in reason for reason in decision.reasons)
    assert decision.champion is None and decision.comparison is None


def test_a_better_model_is_promoted_and_the_worse_one_is_not(people: Population) -> None:
    better, worse = people.model(0.95), people.model(0.7)
    assert decide(people, better, worse).promote
    refused = decide(people, worse, better)
    assert "worse than the champion" in failed(refused)["against_champion"]
    forth, back = (decide(people, a, b).comparison for a, b in ((better, worse), (worse, better)))
    assert forth is not None and back is not None
    assert forth["gini_difference"].value == pytest.approx(-back["gini_difference"].value)


def test_the_same_model_again_is_no_better_than_the_champion(people: Population) -> None:
    scores = people.model(0.9)
    for require in ("better", "not_worse"):
        decision = decide(people, scores, scores.copy(), require=require)
        assert not decision.promote
        assert len(decision.reasons) == 1
        assert "no better than the champion" in decision.reasons[0]
        assert "the score that the champion gives" in decision.reasons[0]


def test_not_worse_accepts_what_better_does_not(people: Population) -> None:
    champion = people.model(0.9, own=0.02)
    challenger = people.model(0.9, own=0.02)
    assert (
        "no better than the champion"
        in failed(decide(people, challenger, champion))["against_champion"]
    )
    assert decide(people, challenger, champion, require="not_worse", margin=0.02).promote
    worse = people.model(0.7)
    refused = decide(people, worse, champion, require="not_worse", margin=0.02)
    assert "against_champion" in failed(refused)


def test_the_same_order_in_other_numbers_is_no_better(people: Population) -> None:
    scores = people.model(0.9)
    assert "against_champion" in failed(decide(people, scores * 0.99, scores))


@pytest.mark.parametrize(
    ("make", "check", "words"),
    [
        (lambda p: np.full(SIZE, 0.0364), "usable_scores", "Every row got the same score, 0.0364"),
        (
            lambda p: np.full(SIZE, np.nan),
            "usable_scores",
            "20,000 of 20,000 scores are not finite",
        ),
        (lambda p: p.model(0.9) * 40, "usable_scores", "outside 0 to 1"),
        (lambda p: -p.model(0.9), "usable_scores", "outside 0 to 1"),
        (lambda p: np.where(np.arange(SIZE) == 5, np.inf, p.model(0.9)), "usable_scores", "1 of"),
        (lambda p: 0.0728 - np.minimum(p.model(0.9), 0.07), "minimum_gini", "wrong way round"),
        (lambda p: p.rng.permutation(p.model(0.9)), "minimum_gini", "below the floor of"),
        (lambda p: p.rng.permutation(p.model(0.9)), "better_than_chance", "may be luck"),
        (lambda p: p.model(0.3), "expected_gini", "beyond doubt below the 0.25"),
        (lambda p: 0.01 + 0.9 * p.target + 0.01 * p.model(0.9), "plausible_gini", "knows"),
        (lambda p: np.sqrt(p.model(0.9)), "claim_rate", "claims where"),
        (lambda p: 0.5 * p.model(0.9), "claim_rate", "calibrate the scores"),
        (lambda p: p.model(0.9) ** 3 * 15, "calibration", "calibration plot"),
    ],
)
def test_a_bad_model_is_refused_with_and_without_champion(
    people: Population, make: Any, check: str, words: str
) -> None:
    scores = np.clip(make(people), -50, 50) if check != "usable_scores" else make(people)
    for champion in (None, people.model(0.8)):
        decision = decide(people, scores, champion)
        assert not decision.promote
        assert words in failed(decision)[check]
        json.dumps(decision.to_json(), allow_nan=False)


def test_unusable_scores_end_the_judgement(people: Population) -> None:
    decision = decide(people, np.full(SIZE, np.nan), people.model(0.9))
    assert [check.name for check in decision.checks] == ["enough_claims", "usable_scores"]
    assert decision.challenger.metrics == {}
    assert decision.champion is not None and decision.champion.metrics["gini"].value > 0.2


def test_a_constant_still_has_figures(people: Population) -> None:
    decision = decide(people, np.full(SIZE, 0.0364))
    assert decision.challenger.metrics["gini"].value == 0


def test_slow_scoring_is_refused(people: Population) -> None:
    decision = decide(people, people.model(0.9), latency_ms=7.5)
    assert "7.500 ms (median), above the budget of 5 ms" in failed(decision)["latency"]


@pytest.mark.parametrize("claims", [0, 1, 49])
def test_few_claims_decide_nothing_however_good_they_look(claims: int) -> None:
    people = Population(2, 500)
    people.target = np.repeat([1, 0], [claims, 500 - claims])
    decision = decide(people, 0.001 + 0.9 * people.target)
    assert f"has {claims} rows with a claim, fewer than the 50" in failed(decision)["enough_claims"]
    assert (decision.challenger.metrics == {}) is (claims < 2)
    json.dumps(decision.to_json(), allow_nan=False)


def test_the_real_holdouts_claims_are_enough() -> None:
    decision = decide(Population(3, 3_000), Population(3, 3_000).model(0.9))
    assert decision.checks[0].passed and decision.claims < 130


def test_a_broken_champion_is_an_error_and_no_reason_to_promote(people: Population) -> None:
    with pytest.raises(ModelError, match="the champion cannot be compared with"):
        decide(people, people.model(0.9), np.full(SIZE, np.nan))
    with pytest.raises(DataError, match="the champion scored 3"):
        decide(people, people.model(0.9), [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="2 were scored"):
        decide(people, [0.1, 0.2])


def test_a_constant_champion_is_beaten(people: Population) -> None:
    assert decide(people, people.model(0.9), np.full(SIZE, 0.0364)).promote


def test_decision_json_has_the_contracts_keys(people: Population) -> None:
    content = decide(people, people.model(0.95), people.model(0.7)).to_json()
    assert content["decision"] == "promote"
    assert set(content["challenger"]["metrics"]) == {
        "gini",
        "auc",
        "log_loss",
        "brier",
        "calibration_error",
    }
    assert len(content["challenger"]["lift"]) == 10
    for check in content["checks"]:
        assert set(check) == {"name", "passed", "value", "limit", "reason"}
        assert check["reason"].endswith(".")
    for figures in (content["challenger"]["metrics"], content["comparison"]):
        for figure in figures.values():
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert content["holdout"] == {"rows": SIZE, "claims": int(people.target.sum())}


def test_the_same_input_gives_the_same_decision(people: Population) -> None:
    scores, champion = people.model(0.9), people.model(0.8)
    assert decide(people, scores, champion) == decide(people, scores, champion)


def test_of_200_equal_models_at_most_5_percent_are_promoted() -> None:
    """And of clearly better ones most: a gate that never promotes would pass the first half."""
    people = Population(4, 8_000)
    promoted = {0.85: 0, 0.95: 0}
    for _ in range(200):
        people.target = (
            people.rng.random(people.truth.size) < people._probability(people.truth, 0.6)
        ).astype(int)
        champion = people.model(0.85, own=0.3)
        for sight in promoted:
            challenger = people.model(sight, own=0.3)
            promoted[sight] += decide(people, challenger, champion, slices=()).promote
    assert promoted[0.85] <= 10
    assert promoted[0.95] >= 60


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("slices", ["ps_car_99"], "no feature of the schema"),
        ("slices", ["ps_car_13"], "too many to be groups"),
        ("minimum_claims", 1, "greater than or equal to 2"),
        ("maximum_gini", 1.5, "less than or equal to 1"),
        ("minimal_gini", 0.2, "Extra inputs"),
    ],
)
def test_limits_that_make_no_sense_are_refused(name: str, value: Any, said: str) -> None:
    content = load_parameters().model_dump(mode="json")
    content["gate"][name] = value
    with pytest.raises(ParametersError, match=said):
        parse_parameters(content, "parameters.yml")


def test_the_shipped_slices_are_of_drivers_and_of_cars() -> None:
    assert {name.split("_")[1] for name in LIMITS.slices} >= {"ind", "car"}
