"""What differs where something else is predicted than in the template: replacements, each of which has to match."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace

from bootstrap.answers import CLASSIFICATION
from bootstrap.errors import BootstrapError
from bootstrap.template import File

SAMPLE = "data/sample.csv"
SAMPLES = "bootstrap/samples"
"""The columns of the sample that are others for a problem. It is synthetic, and nothing here can synthesize."""


@dataclass(frozen=True)
class Change:
    """A passage of a file, and what stands there instead.

    Attributes:
        path: of the file.
        pattern: matches once, across lines.
        new: may name groups of the pattern.
    """

    path: str
    pattern: str
    new: str


def _limit(name: str, limit: float, path: str = "insurance_claims/parameters.yml") -> Change:
    return Change(path, rf"^  {name}: [\d.]+", f"  {name}: {limit:g}")


def _noted(path: str) -> Change:
    note = (
        "> This page tells of the template, whose target is 0 or 1. The rules here are the same, and the figures are "
        "not: the model card has those of a model."
    )
    return Change(path, r"\A(# [^\n]*\n)", rf"\1\n{note}\n")


_COST = (
    # The best possible Gini of the synthetic costs is 0.44, and their mean is 87.
    _limit("minimum_gini", 0.25),
    _limit("expected_gini", 0.35),
    _limit("maximum_gini", 0.65),
    _limit("maximum_calibration_error", 15),
    _limit("maximum_slice_loss", 0.08),
    _limit("gini_loss", 0.08),
    _limit("calibration_error", 25),
    _limit("calibration", 25, "ml_service/rollout/rollout.yml"),
    Change(
        "insurance_claims/parameters.yml",
        r"# share of rows, in addition to",
        "# in the unit of the target, in addition to",
    ),
    Change("README.md", r"and takes that model from a\s+notebook to", "and takes that model to"),
    Change(
        "README.md",
        r"^It prints every command before it runs it.*?^With your own file in Kaggle's format[^:]*:",
        "It prints every command before it runs it, so that each can be typed again. With your own file in the "
        "format of `data/sample.csv`:",
    ),
    Change(
        "data/README.md",
        r"500 synthetic rows with \d+ claims in Kaggle's format",
        "500 synthetic rows",
    ),
    Change(
        "data/README.md",
        r"^## The real data$.*?(?=^## )",
        "Kaggle's own rows have a 0 or a 1 as target, and no cost: rows of this project are synthetic, or yours.\n\n",
    ),
    Change(
        "data/README.md",
        r"each row's true probability of a claim \([^)]*\)",
        "each row's true cost",
    ),
    *map(_noted, ("docs/gate.md", "docs/feedback.md", "docs/benchmarks.md", "docs/adapting.md")),
)

_PREDICTED = r"predicts the probability that a driver files a claim next year"
_TARGET = r"One row is a driver with a policy; `target` is 1 [^%]*% did\."

CHANGES = {
    "regression": (
        Change(
            "insurance_claims/schema.py",
            r"^PROBLEM = Problem\.CLASSIFICATION$",
            "PROBLEM = Problem.REGRESSION",
        ),
        Change("README.md", _PREDICTED, "predicts what the claims of a driver will cost next year"),
        Change(
            "data/README.md",
            _TARGET,
            "One row is a driver with a policy; `target` is what the claims of the following year "
            "cost, which is 0 for most.",
        ),
        *_COST,
    ),
    "forecasting": (
        Change(
            "insurance_claims/schema.py",
            r"^PROBLEM = Problem\.CLASSIFICATION$",
            "PROBLEM = Problem.FORECASTING",
        ),
        Change(
            "insurance_claims/schema.py",
            r"^PERIOD: str \| None = None$",
            'PERIOD: str | None = "ps_time_quarter"',
        ),
        Change(
            "insurance_claims/schema.py",
            r'^(    _column\("ps_calc_20_bin",[^\n]*\n)',
            r'\1    _column("ps_time_quarter", 1, 400, 6.5, 3.45, 12, None),\n',
        ),
        Change(
            "README.md", _PREDICTED, "forecasts what the claims of a driver will cost next quarter"
        ),
        Change(
            "data/README.md",
            _TARGET,
            "One row is a driver with a policy in a quarter, which has a number in `ps_time_quarter`; `target` is "
            "what the claims of that quarter cost, which is 0 for most.",
        ),
        *_COST,
    ),
}


def with_problem(files: list[File], problem: str) -> list[File]:
    """The template's files for a project that predicts something else.

    Args:
        files: of the template, under its name.
        problem: one of ``PROBLEMS``.

    Raises:
        BootstrapError: what is replaced is not in the template, or more than once.
    """
    if problem == CLASSIFICATION:
        return files
    texts = {file.path: file.text or "" for file in files}
    changed: dict[str, str] = {}
    for change in CHANGES[problem]:
        text = changed.get(change.path, texts.get(change.path, ""))
        text, count = re.subn(change.pattern, change.new, text, flags=re.MULTILINE | re.DOTALL)
        if count != 1:
            raise BootstrapError(
                f"{change.path} of the template holds {change.pattern!r} {count} times, and once is what --problem "
                f"{problem} replaces: bring bootstrap/problems.py up to date with it"
            )
        changed[change.path] = text
    changed[SAMPLE] = _sample(texts[SAMPLE], texts[f"{SAMPLES}/{problem}.csv"])
    return [
        replace(file, content=changed[file.path].encode()) if file.path in changed else file
        for file in files
    ]


def _sample(template: str, columns: str) -> str:
    """A sample with other columns in place of those of the same names, or after the last."""
    rows, new = (list(csv.DictReader(io.StringIO(text))) for text in (template, columns))
    if len(rows) != len(new):
        raise BootstrapError(
            f"{SAMPLE} has {len(rows)} rows, and {SAMPLES} {len(new)}: make both again"
        )
    made = io.StringIO()
    writer = csv.DictWriter(made, [*{**rows[0], **new[0]}], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **other} for row, other in zip(rows, new))
    return made.getvalue()
