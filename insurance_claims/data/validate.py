"""The data contract, checked: every problem of a table at once, each with rows to look at.

First every column is brought to numbers, then the Pandera schema of ``contract.py`` checks these. What is no number is
reported as that, and not as out of range too.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.contract import Mask, Numbers, contract
from insurance_claims.errors import DataError
from insurance_claims.schema import MISSING

if TYPE_CHECKING:
    from pandera.errors import SchemaError

_EXAMPLES = 5
_NULLS = tuple(
    "|#N/A|#N/A N/A|#NA|-NaN|-nan|1.#IND|1.#QNAN|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")
)
"""Texts that stand for nothing, in the files of common tools."""

_TEXT_KINDS = frozenset(("string", "mixed", "mixed-integer"))
_NUMBER_KINDS = frozenset(("integer", "floating", "mixed-integer-float", "decimal", "empty"))
_KINDS = {
    "boolean": "true or false",
    "date": "a date",
    "datetime": "a date",
    "datetime64": "a date",
    "time": "a time",
    "timedelta64": "a duration",
    "bytes": "bytes",
    "complex": "a complex number",
} | dict.fromkeys(_TEXT_KINDS, "text")
"""What Pandas finds in a column, in words."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that one column breaks.

    Attributes:
        column: its name; ``table`` where no single column is to blame.
        rule: the rule's name.
        rows: how many rows break it; 0 where the rule is not about rows.
        example_rows: numbers of the first of them; the first data row is 1.
        example_values: what these hold.
        message: all of it in one line.
    """

    column: str
    rule: str
    rows: int
    example_rows: tuple[int, ...]
    example_values: tuple[Any, ...]
    message: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What is wrong with a table.

    Attributes:
        rows: of the table.
        problems: in the schema's order of columns. The table is valid where there are none.
        warnings: what a person may want to know, though it is allowed.
    """

    rows: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the table may be used."""
        return not self.problems

    def describe(self) -> str:
        """All problems and warnings, one line each, below a line that sums them up."""
        count = len(self.problems)
        verdict = "valid" if self.ok else f"{count} problem{'s' if count > 1 else ''}"
        lines = [f"{self.rows:,} rows: {verdict}"]
        lines += [f"  {problem.message}" for problem in self.problems]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def validate(table: pd.DataFrame, require_target: bool = True) -> ValidationReport:
    """Check a table against the contract.

    Args:
        table: as ``read_table`` gives it.
        require_target: whether it is to train on: the target must be there, and differ between rows. Without it the
            target may be missing; where it is there, its values are checked.
    """
    rows = len(table)
    if not table.columns.is_unique:
        twice = sorted({str(name) for name in table.columns[table.columns.duplicated()]})
        return ValidationReport(rows, tuple(_twice(name) for name in twice), ())
    if rows == 0:
        message = "table: it has no rows"
        return ValidationReport(0, (Problem("table", "rows", 0, (), (), message),), ())
    present = [name for name in schema.COLUMNS if name in table.columns]
    problems: list[Problem] = []
    numbers: dict[str, pd.Series[Any]] = {}
    for name in present:
        numbers[name], found = _numbers(table[name])
        problems += found
    # What is no number or missing is NaN by now and reported: Pandera leaves it out of its checks.
    frame = pd.DataFrame(numbers, index=pd.RangeIndex(rows), copy=False)
    problems += _broken(frame, require_target)
    order = {name: position for position, name in enumerate(schema.COLUMNS)}
    extra = [str(name) for name in table.columns if name not in order]
    warnings = []
    if extra:
        listed = ", ".join(extra[:20]) + (", ..." if len(extra) > 20 else "")
        warnings.append(
            f"{len(extra)} columns are not of the schema and are carried along: {listed}"
        )
    problems.sort(key=lambda problem: order[problem.column])
    return ValidationReport(rows, tuple(problems), tuple(warnings))


def canonical(table: pd.DataFrame) -> pd.DataFrame:
    """A valid table in the one form that versions are stored and hashed in.

    Args:
        table: valid; this is not checked again here.

    Returns:
        The schema's columns in its order, then the others in theirs, with a running index. Whole numbers are int64,
        other numbers float64, and other columns int64, float64 or text with None for nothing. There is no -0.0.
    """
    columns: dict[str, pd.Series[Any]] = {}
    for name in schema.COLUMNS:
        if name in table.columns:
            whole = schema.is_whole(name)
            columns[name] = _as_type(table[name], np.int64 if whole else np.float64)
    for name in table.columns:
        if name not in columns:
            columns[name] = _canonical_extra(table[name])
    frame = pd.DataFrame(
        {name: series.array for name, series in columns.items()},
        index=pd.RangeIndex(len(table)),
        copy=False,
    )
    return frame


def check(table: pd.DataFrame, require_target: bool = True) -> pd.DataFrame:
    """Check a table and bring it into its canonical form.

    Raises:
        DataError: it breaks the contract; the message lists every problem.
    """
    report = validate(table, require_target)
    if not report.ok:
        raise DataError(f"the data breaks its contract. {report.describe()}")
    return canonical(table)


def _as_type(series: pd.Series[Any], kind: type[np.int64] | type[np.float64]) -> pd.Series[Any]:
    result = series.astype(kind, copy=False)
    return result if kind is np.int64 else result + 0.0


def _canonical_extra(series: pd.Series[Any]) -> pd.Series[Any]:
    values = series.dtype
    if isinstance(values, np.dtype):
        if values.kind in "bi" or (values.kind == "u" and series.max() <= np.iinfo(np.int64).max):
            return series.astype(np.int64, copy=False)
        if values.kind in "uf":
            return series.astype(np.float64, copy=False) + 0.0
    texts = [
        None if gone else str(value) for value, gone in zip(series, series.isna(), strict=True)
    ]
    return pd.Series(texts, dtype=object)


def _numbers(series: pd.Series[Any]) -> tuple[pd.Series[Any], list[Problem]]:
    """A column as int64 or float64, NaN where there is no number, and what is wrong where that is not allowed."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf":
        numbers = _plain_numbers(series.to_numpy())
        wrong = np.zeros(len(numbers), dtype=np.bool_)
        nothing = np.isnan(numbers) if numbers.dtype.kind == "f" else wrong
        kind = "number"
    else:
        numbers, wrong, nothing, kind = _parsed_numbers(series)
    problems = []
    if wrong.any():
        says = f"{_KINDS.get(kind, kind)} where a number is expected"
        problems.append(_problem(series, "number", wrong, says))
    if nothing.any():
        feature = schema.BY_NAME.get(str(series.name))
        allowed = feature is not None and feature.missing_allowed
        hint = (
            f"a missing value is written {MISSING}" if allowed else "no value may be missing here"
        )
        says = f"nothing (NaN, null or an empty value): {hint}"
        problems.append(_problem(series, "missing value", nothing, says))
    return pd.Series(numbers, name=series.name), problems


def _plain_numbers(values: NDArray[Any]) -> Numbers:
    if values.dtype.kind == "f":
        return values.astype(np.float64, copy=False)
    if values.dtype == np.uint64 and values.max() > np.iinfo(np.int64).max:
        return values.astype(np.float64)
    return values.astype(np.int64, copy=False)


def _parsed_numbers(series: pd.Series[Any]) -> tuple[Numbers, Mask, Mask, str]:
    """Numbers of a column of another type; which values are none, which are nothing at all; and the kind of values."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    kind = pd.api.types.infer_dtype(series, skipna=True)
    nothing = series.isna().to_numpy(np.bool_)
    if kind in _NUMBER_KINDS:
        series = series.astype(object)
        numbers = series.where(~nothing, np.nan).to_numpy(np.float64)
        return numbers, np.zeros(len(series), dtype=np.bool_), nothing, kind
    if kind not in _TEXT_KINDS:
        return np.full(len(series), np.nan), ~nothing, nothing, kind
    # Texts repeat: parsing each once keeps a file with a wrong decimal sign from taking minutes.
    codes, texts = pd.factorize(series if kind == "string" else series.map(str))
    parsed = np.append(
        pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64), np.nan
    )
    nothing |= np.append(np.isin(texts.astype(object), _NULLS), True)[codes]
    numbers = np.where(nothing, np.nan, parsed[codes])
    wrong = np.isnan(numbers) & ~nothing
    if not wrong.any():
        # Numbers that are stored as text: no single row is to blame.
        wrong = ~nothing
    return numbers, wrong, nothing, kind


def _broken(frame: pd.DataFrame, require_target: bool) -> list[Problem]:
    from pandera.config import config_context
    from pandera.errors import SchemaErrors

    try:
        # Pandera can be switched off by an environment variable; data that goes into a model is checked all the same.
        with config_context(validation_enabled=True, validation_depth="SCHEMA_AND_DATA"):
            contract(require_target).validate(frame, lazy=True, inplace=True)
    except SchemaErrors as errors:
        return [_from_pandera(error, frame) for error in errors.schema_errors]
    return []


def _from_pandera(error: SchemaError, frame: pd.DataFrame) -> Problem:
    from pandera.errors import SchemaErrorReason

    if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
        name = str(error.failure_cases)
        return Problem(name, "column", 0, (), (), f"{name}: the column is missing")
    if error.reason_code is not SchemaErrorReason.DATAFRAME_CHECK:
        raise error
    series = frame[error.schema.name]
    if isinstance(error.check_output, pd.Series):
        # Pandera leaves NaN out, so that the labels, not the positions, name the rows.
        rows = error.check_output.index[~error.check_output.to_numpy(np.bool_)]
        broken = np.zeros(len(series), dtype=np.bool_)
        broken[rows.to_numpy()] = True
    else:
        broken = np.ones(len(series), dtype=np.bool_)
    return _problem(series, error.check.name, broken, error.check.description)


def _twice(name: str) -> Problem:
    return Problem(name, "column", 0, (), (), f"{name}: more than one column has this name")


def _problem(series: pd.Series[Any], rule: str, broken: Mask, says: str) -> Problem:
    first = np.flatnonzero(broken)[:_EXAMPLES]
    rows = int(np.count_nonzero(broken))
    values = tuple(v.item() if isinstance(v, np.generic) else v for v in series.iloc[first])
    numbers = tuple(int(position) + 1 for position in first)
    more = ", ..." if rows > len(first) else ""
    if len({repr(value) for value in values}) == 1:
        which = "row" if rows == 1 else "rows"
        listed = f"{which} {', '.join(map(str, numbers))}{more}: {reprlib.repr(values[0])}"
    else:
        shown = (f"row {row}: {reprlib.repr(v)}" for row, v in zip(numbers, values, strict=True))
        listed = f"{', '.join(shown)}{more}"
    count = f"{rows:,} {'row holds' if rows == 1 else 'rows hold'}"
    message = f"{series.name}: {count} {says} ({listed})"
    return Problem(str(series.name), rule, rows, numbers, values, message)
