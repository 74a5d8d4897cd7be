"""How often the gate errs: simulated models of known quality, judged by the real gate.

    python -m benchmarks.gate_simulation [--quick] [--measure ROWS]

A customer's log odds are ``mu + tau Z`` with Z standard normal; a model sees Z through noise, and
two versions of a model share a part of that noise. Quality (Gini) and the correlation of two
versions' scores are set; claims are drawn anew for every judgement. ``--measure ROWS`` trains pairs
of LightGBM models on synthetic data instead and prints the correlations that make the simulation's
realistic. Everything is seeded: the same command prints the same table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.evaluate.gate import Decision, judge
from insurance_claims.evaluate.intervals import delong
from insurance_claims.evaluate.metrics import Floats, gini
from insurance_claims.parameters import GateParameters, load_parameters

REAL_HOLDOUT = 3_000
"""A fifth of the 15,000 real rows."""
FULL_HOLDOUT = 119_042
"""A fifth of all 595,212 rows."""
ATTAINABLE_GINI = 0.30
CORRELATION = 0.96
"""Of the log odds that two versions of a model give; measured: see docs/gate.md."""

_SLICES: Mapping[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "ps_ind_05_cat": (
        (-1, 0, 1, 2, 3, 4, 5, 6),
        (0.010, 0.887, 0.014, 0.007, 0.014, 0.031, 0.002, 0.035),
    ),
    "ps_ind_16_bin": ((0, 1), (0.34, 0.66)),
    "ps_car_02_cat": ((0, 1), (0.17, 0.83)),
}
"""Values and shares of the shipped slices in the real data."""


_FLOORS = (0.15, 0.17, 0.19, 0.21)
_QUALITIES = (0.0, 0.10, 0.15, 0.22, 0.245, 0.27)


@dataclass(frozen=True)
class Scenario:
    """One kind of judgement.

    Attributes:
        name: what it shows.
        rows: on the holdout.
        challenger: its true Gini; negative orders the wrong way round.
        champion: its true Gini; None for a first model.
        correlation: of the two models' log odds.
        harmed: the challenger's true Gini where ps_car_02_cat is 0 (17% of rows); None: as elsewhere.
        wanted: what the rate of promotions has to be, for people.
    """

    name: str
    rows: int
    challenger: float
    champion: float | None = None
    correlation: float = CORRELATION
    harmed: float | None = None
    wanted: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of the judgements of one scenario."""

    judged: int
    promoted: int
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of judgements that promoted."""
        return self.promoted / self.judged


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("equal models", FULL_HOLDOUT, 0.28, 0.28, wanted="at most 5%"),
    Scenario("equal models, little alike", FULL_HOLDOUT, 0.28, 0.28, 0.90, wanted="at most 5%"),
    Scenario("better by 0.01", FULL_HOLDOUT, 0.28, 0.27, wanted="at least 90%"),
    Scenario("better by 0.01, less alike", FULL_HOLDOUT, 0.28, 0.27, 0.94),
    Scenario("better by 0.01, little alike", FULL_HOLDOUT, 0.28, 0.27, 0.90),
    Scenario("better by 0.005", FULL_HOLDOUT, 0.28, 0.275),
    Scenario("worse by 0.005", FULL_HOLDOUT, 0.275, 0.28, wanted="0%"),
    Scenario("better by 0.02 but for a sixth at 0.10", FULL_HOLDOUT, 0.29, 0.27, harmed=0.10),
    Scenario("equal models", REAL_HOLDOUT, 0.27, 0.27, wanted="at most 5%"),
    Scenario("better by 0.01", REAL_HOLDOUT, 0.28, 0.27),
    Scenario("better by 0.05, little alike", REAL_HOLDOUT, 0.27, 0.22, 0.80),
    Scenario("first: good", REAL_HOLDOUT, 0.27, wanted="usually"),
    Scenario("first: fair", REAL_HOLDOUT, 0.22),
    Scenario("first: weak", REAL_HOLDOUT, 0.15),
    Scenario("first: starved", REAL_HOLDOUT, 0.10),
    Scenario("first: useless", REAL_HOLDOUT, 0.0, wanted="never"),
    Scenario("first: inverted", REAL_HOLDOUT, -0.27, wanted="never"),
    Scenario("first: good", FULL_HOLDOUT, 0.27, wanted="always"),
    Scenario("first: weak", FULL_HOLDOUT, 0.20, wanted="never"),
    Scenario("first: useless", FULL_HOLDOUT, 0.0, wanted="never"),
)


def simulate(scenario: Scenario, judgements: int, seed: int, parameters: GateParameters) -> Outcome:
    """Judge a scenario's models again and again, on new claims each time."""
    rng = np.random.default_rng([seed, scenario.rows])
    promoted = 0
    failed: dict[str, int] = {}
    for _ in range(judgements):
        decision = _judgement(scenario, rng, parameters)
        promoted += decision.promote
        for check in decision.checks:
            if not check.passed:
                failed[check.name] = failed.get(check.name, 0) + 1
    return Outcome(judgements, promoted, failed)


def _judgement(
    scenario: Scenario, rng: np.random.Generator, parameters: GateParameters
) -> Decision:
    size = scenario.rows
    truth, shared, other, own = rng.standard_normal((4, size))
    groups = {
        name: rng.choice(values, size=size, p=np.asarray(shares) / sum(shares))
        for name, (values, shares) in _SLICES.items()
    }
    target = (rng.random(size) < _probability(truth, _strength(ATTAINABLE_GINI))).astype(float)
    champion = None
    if scenario.champion is None:
        noise = other
    else:
        champion = _scores(truth, shared, scenario.champion)
        noise = _alike(shared, other, scenario)
    challenger = _scores(truth, noise, scenario.challenger)
    if scenario.harmed is not None:
        harmed = groups["ps_car_02_cat"] == 0
        challenger[harmed] = _scores(truth, own, scenario.harmed)[harmed]
    return judge(target, groups, challenger, champion, 0.01, parameters)


def _alike(shared: Floats, other: Floats, scenario: Scenario) -> Floats:
    """The challenger's noise: so much of the champion's that their log odds correlate as wanted."""
    assert scenario.champion is not None
    ours, theirs = (_sight(quality) for quality in (scenario.challenger, scenario.champion))
    common = scenario.correlation - ours * theirs
    part = common / np.sqrt((1 - ours**2) * (1 - theirs**2))
    if abs(part) > 1:
        raise ValueError(f"{scenario.name}: no two such models correlate {scenario.correlation}")
    return np.asarray(part * shared + np.sqrt(1 - part**2) * other)


def _scores(truth: Floats, noise: Floats, quality: float) -> Floats:
    """Calibrated probabilities of a model of that quality; an inverted one is as sure of itself."""
    sight = _sight(quality)
    seen = sight * truth + np.sqrt(1 - sight**2) * noise
    # A model that sees nothing still gives scores that differ, as one of shuffled labels does.
    return _probability(seen, max(abs(sight) * _strength(ATTAINABLE_GINI), 0.05))


def _sight(quality: float) -> float:
    """How much of the truth a model sees: the correlation of its log odds with the true ones."""
    return float(np.sign(quality)) * _strength(abs(quality)) / _strength(ATTAINABLE_GINI)


def _probability(seen: Floats, strength: float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(_intercept(strength) + strength * seen))))


_GRID = np.asarray([NormalDist().inv_cdf((k + 0.5) / 20_000) for k in range(20_000)])


@cache
def _intercept(strength: float) -> float:
    """What makes the mean probability the real claim rate."""

    def rate(intercept: float) -> float:
        return float((1 / (1 + np.exp(-(intercept + strength * _GRID)))).mean())

    return _root(rate, schema.CLAIM_RATE, -10, 0)


@cache
def _strength(quality: float) -> float:
    """Standard deviation of the log odds that gives a calibrated model that Gini."""

    def found(strength: float) -> float:
        probability = _probability(_GRID, strength)
        below = np.cumsum(1 - probability) - (1 - probability) / 2
        return (
            float(2 * (probability * below).sum() / probability.sum() / (1 - probability).sum()) - 1
        )

    return 0.0 if quality == 0 else _root(found, quality, 1e-3, 3)


def _root(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return (low + high) / 2


def table(outcomes: Sequence[tuple[Scenario, Outcome]]) -> str:
    """The outcomes as a Markdown table."""
    lines = [
        "| holdout rows | scenario | correlation | wanted | promoted | refused by |",
        "| ---: | --- | ---: | --- | ---: | --- |",
    ]
    for scenario, outcome in outcomes:
        alike = "" if scenario.champion is None else f"{scenario.correlation:.2f}"
        by = ", ".join(
            f"{name} {count / outcome.judged:.1%}"
            for name, count in sorted(outcome.failed.items(), key=lambda item: -item[1])
        )
        lines.append(
            f"| {scenario.rows:,} | {scenario.name} | {alike} | {scenario.wanted} "
            f"| {outcome.rate:.1%} | {by} |"
        )
    return "\n".join(lines)


def floors(rows: int, draws: int, seed: int) -> str:
    """How often a first model's Gini reaches each of some floors, as a Markdown table.

    Enough draws for errors that are too rare for whole judgements.
    """
    reached = []
    for quality in _QUALITIES:
        rng = np.random.default_rng([seed, rows])
        found = np.empty(draws)
        for draw in range(draws):
            truth, noise = rng.standard_normal((2, rows))
            target = rng.random(rows) < _probability(truth, _strength(ATTAINABLE_GINI))
            found[draw] = gini(target, _scores(truth, noise, quality))
        reached.append([float((found >= floor).mean()) for floor in _FLOORS])
    lines = [
        "| floor | " + " | ".join(f"Gini {quality:g}" for quality in _QUALITIES) + " |",
        "| ---: " * (len(_QUALITIES) + 1) + "|",
    ]
    for index, floor in enumerate(_FLOORS):
        cells = " | ".join(f"{shares[index]:.2%}" for shares in reached)
        lines.append(f"| {floor:.2f} | {cells} |")
    return "\n".join(lines)


def measure(rows: int, seed: int) -> str:
    """Train pairs of models on synthetic data, and say how alike they are on the holdout."""
    import lightgbm as lgb

    from insurance_claims.data.synthesize import synthesize

    data, truth = synthesize(rows, seed)
    features = data[list(schema.FEATURE_NAMES)].to_numpy(np.float64)
    target = data[schema.TARGET].to_numpy(np.float64)
    recipe = _training_settings()
    rng = np.random.default_rng(seed)
    place = rng.random(rows)
    holdout, training = place < 0.2, np.flatnonzero(place >= 0.2)
    # About what cross-validation chooses for each amount of rows.
    rounds = int(np.clip(80 * np.log10(rows / 1_000), 40, 300))

    def scores(
        use: NDArray[np.int64] = training,
        without: Sequence[str] = (),
        rounds: int = rounds,
        **changed: Any,
    ) -> Floats:
        kept = [name not in without for name in schema.FEATURE_NAMES]
        settings = {**recipe, **changed}
        booster = lgb.train(settings, lgb.Dataset(features[use][:, kept], target[use]), rounds)
        return np.asarray(booster.predict(features[holdout][:, kept], num_threads=1))

    models = {
        "the recipe": scores(seed=1),
        "another seed": scores(seed=2),
        "two thirds of the rounds": scores(seed=3, rounds=2 * rounds // 3),
        "31 leaves": scores(seed=4, num_leaves=31),
        "60 leaves, rate 0.02": scores(seed=5, num_leaves=60, learning_rate=0.02),
        "half of the rows": scores(training[rng.random(training.size) < 0.5], seed=6),
        "without ps_ind_15": scores(without=["ps_ind_15"], seed=7),
        "without ps_ind_05_cat": scores(without=["ps_ind_05_cat"], seed=8),
        "1% of the rows": scores(training[rng.random(training.size) < 0.01], rounds=50, seed=9),
        "the truth": truth[holdout],
    }
    ginis = delong(target[holdout], list(models.values()))
    odds = [np.log(score / (1 - score)) for score in models.values()]
    lines = [
        "| model | Gini | standard error | less the recipe's | its standard error | correlation |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for index, name in enumerate(models):
        varies = odds[index].min() < odds[index].max()
        correlation = float(np.corrcoef(odds[index], odds[0])[0, 1]) if varies else 0.0
        lines.append(
            f"| {name} | {ginis.values[index]:.4f} | {ginis.standard_error(index):.4f} "
            f"| {ginis.values[index] - ginis.values[0]:+.4f} "
            f"| {ginis.difference_error(index, 0):.4f} | {correlation:.3f} |"
        )
    return "\n".join(lines)


def _training_settings() -> dict[str, Any]:
    chosen = load_parameters().training
    return {
        "objective": "binary",
        "learning_rate": chosen.learning_rate,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
        **chosen.lightgbm,
    }


def main() -> None:
    """Print the simulation's tables, or the measured one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_simulation")
    parser.add_argument("--quick", action="store_true", help="20 judgements instead of 200 each")
    parser.add_argument(
        "--measure", type=int, metavar="ROWS", help="train models and print how alike they are"
    )
    parser.add_argument("--seed", type=int, default=2017)
    arguments = parser.parse_args()
    if arguments.measure:
        print(measure(arguments.measure, arguments.seed))
        return
    parameters = load_parameters().gate
    judgements = 20 if arguments.quick else 200
    outcomes = []
    for scenario in SCENARIOS:
        outcomes.append((scenario, simulate(scenario, judgements, arguments.seed, parameters)))
        print(f"{scenario.name}: {outcomes[-1][1].rate:.1%} promoted", flush=True)
    print(f"\n{table(outcomes)}")
    print(f"\n{floors(REAL_HOLDOUT, 100 * judgements, arguments.seed)}")


if __name__ == "__main__":
    main()
