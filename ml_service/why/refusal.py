"""What the gate found wrong with a model, and which feature knows the outcome where one does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insurance_claims.errors import ClaimsError
from insurance_claims.evaluate.holdout import read_holdout
from insurance_claims.evaluate.metrics import gini
from insurance_claims.files import read_json
from insurance_claims.schema import FEATURE_NAMES
from ml_service.platforms.base import PipelineRun, Platform, PlatformError

TOO_GOOD = "plausible_gini"
_DECISION = "decision.json"
_NO_BETTER = "against_champion"
_SUSPECTS = 3


@dataclass(frozen=True, slots=True)
class Suspect:
    """A feature that tells the outcome by itself.

    Attributes:
        feature: its name.
        gini: of its values alone on the holdout, without its sign.
    """

    feature: str
    gini: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the gate refused a model that is not merely no better than the champion.

    Attributes:
        checks: names of those that failed.
        reasons: of these, in words.
        suspects: features that know the outcome, the surest first, where the model was too good.
    """

    checks: tuple[str, ...]
    reasons: tuple[str, ...]
    suspects: tuple[Suspect, ...] = ()


def refusal_of(platform: Platform, run: PipelineRun) -> Refusal | None:
    """What the gate found wrong with the model of a completed run; None where it found nothing, or there is no gate.

    Args:
        platform: that it ran on.
        run: completed.

    Raises:
        ClaimsError: the decision or the dataset cannot be read.
    """
    if "evaluate" not in {step.name for step in run.steps}:
        return None
    try:
        folder = platform.pipelines.output(run.id, "evaluate", "evaluation")
    except PlatformError:
        # What ran long ago may have been cleared away.
        return None
    decision: dict[str, Any] = read_json(folder / _DECISION)
    failed = [check for check in decision["checks"] if not check["passed"]]
    names = tuple(str(check["name"]) for check in failed)
    if set(names) <= {_NO_BETTER}:
        return None
    return Refusal(
        checks=names,
        reasons=tuple(str(check["reason"]) for check in failed),
        suspects=_suspects(platform, run) if TOO_GOOD in names else (),
    )


def _suspects(platform: Platform, run: PipelineRun) -> tuple[Suspect, ...]:
    try:
        return suspects(platform.pipelines.output(run.id, "prepare", "dataset"))
    except ClaimsError:
        return ()


def suspects(dataset: Path) -> tuple[Suspect, ...]:
    """The features that tell most of the outcome by themselves, the surest first.

    Args:
        dataset: folder that prepare wrote.

    Raises:
        DataError: it is none.
    """
    holdout = read_holdout(dataset)
    found = [
        Suspect(name, abs(gini(holdout.target, holdout.column(name)))) for name in FEATURE_NAMES
    ]
    return tuple(sorted(found, key=lambda suspect: -suspect.gini)[:_SUSPECTS])
