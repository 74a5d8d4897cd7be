"""What most likely is the cause: rules look at the evidence in order; the first that speaks counts.

A rule reads what steps, LightGBM and Python say, and what changed since the last good run. It says "most likely"
because it cannot know: the evidence stands below it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import PurePath

from insurance_claims.schema import PROBLEM, TARGET
from ml_service.platforms.base import RunStatus
from ml_service.why.changes import Change
from ml_service.why.evidence import Evidence
from ml_service.why.refusal import TOO_GOOD

_CONTRACT = "the data breaks its contract"
_COLUMN = re.compile(r"^ {2}(?!warning: )(\w+): (.+)$", re.MULTILINE)
_MISSING = "the column is missing"
_CARRIED = re.compile(r"columns are not of the schema and are carried along: (.+)$", re.MULTILINE)
_OUT_OF_MEMORY = re.compile(r"MemoryError|Unable to allocate|Cannot allocate memory|bad_alloc")
_PARAMETERS = re.compile(r"\btraining\.lightgbm\b|parameters\.yml|^ {2}\w+(\.\w+)+: ", re.MULTILINE)
_WRONG_TARGET = re.compile(rf"\b{TARGET}\b.*(no number|values other than {PROBLEM.facts.values})")
_AT_MOST = 5


def broken_contract(evidence: Evidence) -> str | None:
    """Columns that break the data contract."""
    failure = evidence.failure
    if failure is None or _CONTRACT not in failure.message:
        return None
    broken = dict(_COLUMN.findall(failure.message))
    carried = _CARRIED.search(failure.message)
    gone = [name for name, says in broken.items() if says == _MISSING]
    if gone and carried:
        return (
            f"column {_listed(gone)} is missing, and {carried[1]} is there, which the contract does not know: "
            f"renamed, in the data or on its way{_beside(evidence)}"
        )
    if gone:
        return f"column {_listed(gone)} is missing{_beside(evidence)}"
    said = _listed(f"column {name}: {says}" for name, says in broken.items())
    return f"the data breaks its contract in {said}{_beside(evidence)}" if broken else None


def changed_package(evidence: Evidence) -> str | None:
    """A package of another version than in the last good run, which the exception names or came through."""
    failure = evidence.failure
    if failure is None or not failure.kind or not evidence.changes.packages:
        return None
    for change in evidence.changes.packages:
        modules = "|".join(map(re.escape, _modules(change.name)))
        spoken = re.search(rf"['\"\s](?:{modules})[.'\"\s]", f" {failure.message} ")
        if spoken or any(
            re.search(rf"site-packages/(?:{modules})[/.]", at) for at in failure.places
        ):
            return (
                f"package {change.name}, which changed from {change.old} to {change.new} since the last good run: "
                f"{failure.kind}: {_first_line(failure.message)}"
            )
    return None


def out_of_memory(evidence: Evidence) -> str | None:
    """A step that was killed, or that could not get the memory it asked for."""
    failure, used = evidence.failure, evidence.resources
    if failure is None or used is None:
        return None
    peak = "not known" if used.peak_memory_mb is None else f"{used.peak_memory_mb:,.0f} MB"
    if used.good_peak_memory_mb is not None:
        peak += f", {used.good_peak_memory_mb:,.0f} MB in the last good run"
    if failure.signal is not None:
        number = signal.Signals[failure.signal].value
        if failure.signal != "SIGKILL":
            return f"step {failure.step} was ended by {failure.signal} (signal {number})"
        said = (
            f"step {failure.step} was killed (signal {number}), probably out of memory: peak {peak}"
        )
        return said + _beside(evidence)
    if not _OUT_OF_MEMORY.search(f"{failure.kind} {failure.message}"):
        return None
    where = f", at {failure.places[-1]}" if failure.places else ""
    said = f"step {failure.step} ran out of memory{where}: {_first_line(failure.message)} (peak {peak})"
    return said + _beside(evidence)


def bad_parameter(evidence: Evidence) -> str | None:
    """A parameter that is refused, best one that changed."""
    failure = evidence.failure
    if failure is None:
        return None
    if failure.kind != "ParametersError" and (
        failure.kind or not _PARAMETERS.search(failure.message)
    ):
        return None
    for change in evidence.changes.parameters:
        if re.search(rf"\b{re.escape(change.name.rpartition('.')[2])}\b", failure.message):
            return (
                f"parameter {change.name} is {change.new}, outside its range; it was {change.old} in the last good "
                f"run: {_first_line(failure.message)}"
            )
    return f"a parameter is refused: {' '.join(failure.message.split())}"


def wrong_target(evidence: Evidence) -> str | None:
    """A target that is not what the data contract has."""
    failure = evidence.failure
    if failure is None or not (found := _WRONG_TARGET.search(failure.message)):
        return None
    return (
        f"column {TARGET} has another type or other values than {PROBLEM.facts.values} when step {failure.step} "
        f"reads it: {found[0]}{_beside(evidence)}"
    )


def leaking_feature(evidence: Evidence) -> str | None:
    """A feature that knows the outcome: the model is too good to be true."""
    refusal = evidence.refusal
    if refusal is None or TOO_GOOD not in refusal.checks or not refusal.suspects:
        return None
    surest = refusal.suspects[0]
    return (
        f"feature {surest.feature} knows the outcome: by itself it reaches a Gini of {surest.gini:.2f} on the holdout"
        + "".join(
            f"; {other.feature} {other.gini:.2f}"
            for other in refusal.suspects[1:]
            if other.gini > surest.gini / 2
        )
        + _beside(evidence)
    )


def refused(evidence: Evidence) -> str | None:
    """Whatever else the gate found wrong with the model."""
    if evidence.refusal is None:
        return None
    return f"the gate refused the model: {' '.join(evidence.refusal.reasons)}{_beside(evidence)}"


def changed_code(evidence: Evidence) -> str | None:
    """An exception out of a file that changed."""
    failure = evidence.failure
    if failure is None:
        return None
    for place in reversed(failure.places):
        file = place.rpartition(" in ")[0].rpartition(":")[0]
        # What starts steps is passed by every exception.
        if file.startswith("insurance_claims/") and file in evidence.changes.all_files:
            return (
                f"{file} changed since the last good run, and {failure.kind} was raised at {place}: "
                f"{_first_line(failure.message)}"
            )
    return None


def stopped(evidence: Evidence) -> str | None:
    """A run that somebody or something ended."""
    if evidence.run.status not in (RunStatus.CANCELLED, RunStatus.INTERRUPTED):
        return None
    used = evidence.resources
    took = ""
    if used is not None and used.seconds and used.good_seconds:
        took = f", after {used.seconds:,.1f} s in a step that took {used.good_seconds:,.1f} s in the last good run"
    return f"it was not let end: {evidence.run.error}{took}{_beside(evidence)}"


def anything(evidence: Evidence) -> str | None:
    """What was said, for want of anything better."""
    failure = evidence.failure
    if failure is None:
        return evidence.run.error
    said = f"{failure.kind}: " if failure.kind else ""
    return f"{said}{_first_line(failure.message)}{_beside(evidence)}"


Rule = Callable[[Evidence], str | None]

RULES: tuple[Rule, ...] = (
    *(broken_contract, changed_package, out_of_memory, bad_parameter, wrong_target),
    *(leaking_feature, refused, changed_code, stopped, anything),
)


def verdict(evidence: Evidence) -> str | None:
    """What most likely is the cause; None where nothing is wrong with the run."""
    return next((said for rule in RULES if (said := rule(evidence))), None)


def _beside(evidence: Evidence) -> str:
    """What changed, for whoever has to choose among it."""
    changes = evidence.changes
    changed: list[Change] = [*changes.parameters, *changes.packages]
    told = [change.describe() for change in changed]
    told += [f"data {change.version.describe()}" for change in changes.data]
    told += list(changes.all_files)
    return f". Since the last good run changed: {_listed(told)}" if told else ""


def _listed(texts: Iterable[str]) -> str:
    found = list(texts)
    more = len(found) - _AT_MOST
    return ", ".join(found[:_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _modules(package: str) -> list[str]:
    """What a package is imported as."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        files = []
    installed = {PurePath(file.parts[0]).stem for file in files if file.suffix == ".py"}
    return sorted({package.replace("-", "_"), *installed})
