"""The rules for every column, from ``schema.py``, as a Pandera schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.schema import ID, MISSING, TARGET, Column, Kind

if TYPE_CHECKING:
    import pandera.pandas as pa

_EXACT_FLOAT = 2.0**53
"""Above it, neighbouring whole numbers are the same float64."""

Numbers = NDArray[np.int64] | NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a column's values have to be.

    Attributes:
        name: in reports.
        broken: which values break it. There is no NaN among them, and values that another rule is about pass.
        says: completes "N rows hold ...".
    """

    name: str
    broken: Callable[[Numbers], Mask]
    says: str


@cache
def contract(require_target: bool) -> pa.DataFrameSchema:
    """The Pandera schema of a table of int64 and float64 columns.

    NaN stands for what is no number, and is left out of every check: who calls has reported it.

    Args:
        require_target: whether the target must be there, and differ between rows.
    """
    import pandera.pandas as pa

    def column(name: str, rules: tuple[Rule, ...], required: bool = True) -> pa.Column:
        checks = [
            pa.Check(
                partial(_keeps, rule),
                name=rule.name,
                description=rule.says,
                n_failure_cases=1,
            )
            for rule in rules
        ]
        return pa.Column(name=name, checks=checks, nullable=True, required=required)

    columns = {ID: column(ID, _ID_RULES)}
    target = _target_rules()
    differ = _BOTH_CLASSES if schema.PROBLEM.facts.binary else _NOT_ALIKE
    columns[TARGET] = column(
        TARGET, (*target, differ) if require_target else target, require_target
    )
    columns |= {
        feature.name: column(feature.name, _feature_rules(feature)) for feature in schema.FEATURES
    }
    return pa.DataFrameSchema(columns)


def value_rules(name: str) -> tuple[Rule, ...]:
    """The rules that say of each value of a column alone whether it is allowed.

    Args:
        name: of a column of the schema.
    """
    if name == ID:
        return tuple(rule for rule in _ID_RULES if rule.name != "unique")
    return _target_rules() if name == TARGET else _feature_rules(schema.BY_NAME[name])


def _keeps(rule: Rule, series: pd.Series[Any]) -> pd.Series[bool] | bool:
    broken = rule.broken(series.to_numpy())
    # Pandera spends its time on tables of row-wise results; a plain True says the same of a good column.
    return pd.Series(~broken, index=series.index) if broken.any() else True


def _feature_rules(feature: Column) -> tuple[Rule, ...]:
    if feature.is_integer:
        span = f"a whole number from {feature.minimum:g} to {feature.maximum:g}"
    else:
        span = f"a number from {feature.lower:g} to {feature.upper:g}"
    expected = f"{span}, or {MISSING} where it is missing" if feature.missing_allowed else span
    categorical = feature.kind in (Kind.CATEGORICAL, Kind.BINARY)
    says = (
        f"an unknown category: expected {expected}"
        if categorical
        else f"a value out of range: expected {expected}"
    )
    rules = [Rule("category" if categorical else "range", partial(_outside, feature), says)]
    if feature.is_integer:
        rules.append(Rule("whole number", _not_whole, f"a fraction: expected {expected}"))
    if not feature.missing_allowed:
        rules.append(
            Rule("missing not allowed", _missing, f"{MISSING}, but no value may be missing here")
        )
    return tuple(rules)


def _outside(feature: Column, values: Numbers) -> Mask:
    # One pass of each over a good column, instead of several with masks between them.
    if (
        feature.lower <= values.min(initial=feature.lower)
        and values.max(initial=feature.lower) <= feature.upper
    ):
        return np.zeros(len(values), dtype=np.bool_)
    outside: Mask = ((values < feature.lower) | (values > feature.upper)) & (values != MISSING)
    return outside & ~_not_whole(values) if feature.is_integer else outside


def _not_whole(values: Numbers) -> Mask:
    if values.dtype.kind == "i":
        return np.zeros(len(values), dtype=np.bool_)
    fraction: Mask = values != np.floor(values)
    return fraction


def _missing(values: Numbers) -> Mask:
    missing: Mask = values == MISSING
    return missing


def _repeated(values: Numbers) -> Mask:
    return pd.Series(values).duplicated(keep=False).to_numpy(np.bool_)


_ID_RULES = (
    Rule("whole number", _not_whole, "a fraction: an id is a whole number"),
    Rule("range", lambda ids: ids < 0, "a negative id"),
    Rule(
        "range",
        lambda ids: np.zeros(len(ids), np.bool_) if ids.dtype.kind == "i" else ids > _EXACT_FLOAT,
        "an id that is too large",
    ),
    Rule("unique", _repeated, "an id that another row has too"),
)

_BOTH_CLASSES = Rule(
    "both classes",
    lambda values: np.full(len(values), bool((values == 0).all() or (values == 1).all())),
    "the same target: rows with a claim (1) and without (0) are both needed",
)
_NOT_ALIKE = Rule(
    "not alike",
    lambda values: np.full(len(values), bool((values == values[:1]).all())),
    "the same target: nothing can be learnt of it",
)


def _target_rules() -> tuple[Rule, ...]:
    facts = schema.PROBLEM.facts
    name = "category" if facts.binary else "range"
    return (Rule(name, lambda values: ~facts.fits(values), facts.wrong),)
