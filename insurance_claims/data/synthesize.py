"""Synthetic claims data: the real columns' shape and difficulty, and nobody's data.

Rows are made in chunks, each from its own random stream, so that row i depends on the seed and on i alone: a longer
table starts with the shorter one, and writing needs the memory of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data import marginals, signal
from insurance_claims.data.tables import table_writer
from insurance_claims.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

FIRST_ID = 7
TRUTH = "probability" if schema.PROBLEM.facts.binary else "expected_cost"
"""The column of what is true of a row, where it is asked for."""

_CHUNK = 16_384
_ID_SHARE = 0.4
"""Kaggle drew its training rows out of about 1.49 million: each id is in them with this chance."""
_REFERENCE_SEED = 0
"""Of the rows that say how much to shift the log odds for another claim rate."""
_PERIODS = 12
"""Quarters that rows are from, where later ones are forecast."""
_COST_SHAPE = 2.0
"""Of the gamma distribution of costs: their standard deviation is 0.7 of their mean."""


def synthesize(
    rows: int,
    seed: int,
    *,
    claim_rate: float = schema.CLAIM_RATE,
    first_id: int = FIRST_ID,
    shift: float = 0.0,
) -> tuple[pd.DataFrame, Floats]:
    """Make a table of synthetic claims.

    Args:
        rows: how many, at least 1.
        seed: of the sample, at least 0. What makes claims likely is the same for every seed.
        claim_rate: expected share of rows with a claim, between 0 and 1.
        first_id: the smallest id. Ids ascend with gaps, as Kaggle's do.
        shift: how far the population has moved, from 0 to 2: other customers, and other claims of theirs.

    Returns:
        The table with schema.COLUMNS in Kaggle's order and types, and of each row the true probability of a claim, or
        the true mean of its cost, shape (rows,).

    Raises:
        DataError: an argument is out of range.
    """
    import pandas as pd

    _check(rows, seed, claim_rate, first_id, shift)
    table = {name: np.empty(rows, dtype=_dtype(name)) for name in schema.COLUMNS}
    truth = np.empty(rows)
    start = 0
    for columns, expected in _chunks(rows, seed, claim_rate, first_id, shift):
        end = start + len(expected)
        for name, values in columns.items():
            table[name][start:end] = values
        truth[start:end] = expected
        start = end
    return pd.DataFrame(table, copy=False), truth


def write_synthetic(
    path: Path, rows: int, seed: int, truth: Path | None = None, shift: float = 0.0
) -> None:
    """Write a table of synthetic claims, and what is true of each where asked for.

    The files appear whole or not at all. Memory does not grow with the number of rows.

    Args:
        path: .csv or .csv.gz as Kaggle has it, or .parquet.
        rows: how many, at least 1.
        seed: of the sample, at least 0.
        truth: a file with the columns id and ``TRUTH``, .csv, .csv.gz or .parquet.
        shift: as for ``synthesize``.

    Raises:
        DataError: an argument is out of range, a file's ending is unknown, or a path cannot be written to.
    """
    _check(rows, seed, schema.CLAIM_RATE, FIRST_ID, shift)
    if truth is not None and truth.absolute() == path.absolute():
        raise DataError(f"{path} is asked for as data and as truth: give two files")
    with ExitStack() as stack:
        write_rows = stack.enter_context(table_writer(path))
        write_truth = stack.enter_context(table_writer(truth)) if truth is not None else None
        for columns, expected in _chunks(rows, seed, schema.CLAIM_RATE, FIRST_ID, shift):
            write_rows(columns)
            if write_truth is not None:
                write_truth({schema.ID: columns[schema.ID], TRUTH: expected})


def golden_rows(count: int, seed: int) -> Floats:
    """Rows for golden predictions: scored at registration, and again by every endpoint.

    The first three are edges: every feature at its minimum, every one at its maximum, and every one missing where that
    is allowed (at its minimum where not). The others are synthetic rows.

    Args:
        count: how many, at least 1.
        seed: of the synthetic rows, at least 0.

    Returns:
        Shape (count, 57), features in the schema's order.

    Raises:
        DataError: an argument is out of range.
    """
    table, _ = synthesize(count, seed)
    rows = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=np.float64)
    edges = [
        [column.minimum for column in schema.FEATURES],
        [column.maximum for column in schema.FEATURES],
        [
            schema.MISSING if column.missing_allowed else column.minimum
            for column in schema.FEATURES
        ],
    ]
    rows[: len(edges)] = edges[:count]
    return np.asarray(rows)


def _chunks(
    rows: int, seed: int, claim_rate: float, first_id: int, population: float
) -> Iterator[tuple[Columns, Floats]]:
    shift = _logit_shift(claim_rate)
    next_id = first_id
    for chunk, start in enumerate(range(0, rows, _CHUNK)):
        rng = np.random.default_rng([seed, chunk])
        features = _features(rng, population)
        logit = signal.claim_logit(features) + shift
        if population:
            logit += population * signal.moved_logit(features)
        probability = _probability(logit)
        target = (rng.random(_CHUNK) < probability).astype(np.int64)
        ids = next_id - 1 + np.cumsum(rng.geometric(_ID_SHARE, _CHUNK))
        if chunk == 0:
            ids += first_id - ids[0]
        next_id = int(ids[-1]) + 1
        columns: Columns = {schema.ID: ids, schema.TARGET: target} | features
        if schema.PERIOD is not None:
            columns[schema.PERIOD] = rng.integers(1, _PERIODS + 1, _CHUNK)
        expected = probability
        if not schema.PROBLEM.facts.binary:
            cost = _mean_cost(columns)
            columns[schema.TARGET] = _costs(rng, target, cost)
            expected = probability * cost
        kept = min(_CHUNK, rows - start)
        yield {name: columns[name][:kept] for name in schema.COLUMNS}, expected[:kept]


def _mean_cost(columns: Columns) -> Floats:
    """What a claim of each row costs on average."""
    cost = signal.mean_cost(columns)
    return cost if schema.PERIOD is None else cost * signal.level(columns[schema.PERIOD])


def _costs(rng: np.random.Generator, claims: NDArray[np.int64], mean: Floats) -> Floats:
    """What the claims of rows cost: nothing, or a gamma variable, in hundredths."""
    cost = np.round(rng.gamma(_COST_SHAPE, mean / _COST_SHAPE), 2)
    return np.asarray(np.where(claims > 0, np.maximum(cost, 0.01), 0.0))


def _features(rng: np.random.Generator, shift: float = 0.0) -> Columns:
    """One chunk of every feature. The order of draws is part of what a seed means."""
    factors = rng.standard_normal((len(marginals.FACTORS), _CHUNK))
    factors += shift * marginals.moved_factors()[:, np.newaxis]

    def draw(latent: marginals.Latent) -> Floats:
        own = rng.standard_normal(_CHUNK)
        own *= latent.own
        for factor in np.flatnonzero(latent.loadings):
            own += latent.loadings[factor] * factors[factor]
        return own

    columns: Columns = {}
    for name, marginal in marginals.marginals().items():
        columns[name] = marginal.values[np.searchsorted(marginal.thresholds, draw(marginal.latent))]
    for group in marginals.one_of_groups():
        choice = np.searchsorted(group.thresholds, draw(group.latent))
        for index, member in enumerate(group.names):
            if member is not None:
                columns[member] = (choice == index).astype(np.int64)
    patterns, ends = marginals.rare_patterns()
    flags = patterns[np.searchsorted(ends, rng.random(_CHUNK))]
    columns |= {name: flags[:, index] for index, name in enumerate(marginals.RARE_FLAGS)}
    columns[marginals.RARE_COUNT] = flags.sum(axis=1)
    for name, missing in marginals.missing().items():
        columns[name][draw(missing.latent) < missing.threshold] = schema.MISSING
    return columns


def _dtype(name: str) -> type[np.int64] | type[np.float64]:
    return np.int64 if schema.is_whole(name) else np.float64


def _probability(logit: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


@cache
def _logit_shift(claim_rate: float) -> float:
    if claim_rate == schema.CLAIM_RATE:
        return 0.0
    logit = signal.claim_logit(_features(np.random.default_rng(_REFERENCE_SEED)))
    # Two roots on the same rows: what these rows have by chance is in both and cancels.
    return _root(logit, claim_rate) - _root(logit, schema.CLAIM_RATE)


def _root(logit: Floats, claim_rate: float) -> float:
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _probability(logit + middle).mean() < claim_rate else (low, middle)
        )
    return (low + high) / 2


def _check(rows: int, seed: int, claim_rate: float, first_id: int, shift: float) -> None:
    if rows < 1:
        raise DataError(f"cannot make {rows} rows: ask for 1 or more")
    if seed < 0:
        raise DataError(f"seed {seed} is negative: use 0 or a larger whole number")
    if not 0.0 < claim_rate < 1.0:
        raise DataError(f"claim rate {claim_rate} is not between 0 and 1")
    if first_id < 0:
        raise DataError(f"first id {first_id} is negative: use 0 or a larger whole number")
    if not 0.0 <= shift <= 2.0:
        raise DataError(f"shift {shift} is not between 0 and 2")
