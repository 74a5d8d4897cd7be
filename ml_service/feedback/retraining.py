"""Retraining: a data version with what is known of scored rows by now, and the training pipeline with its gate."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from insurance_claims import schema
from insurance_claims.data.content import read_version, write_parquet
from insurance_claims.data.contract import value_rules
from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.collected import MODEL_VERSION, Place
from insurance_claims.parameters import MonitoringParameters
from insurance_claims.schema import ID, TARGET
from ml_service.feedback.decision import Decision, Labelled, decide
from ml_service.feedback.labels import read_labels, with_labels
from ml_service.feedback.rows import KEY, key_of, read_all, read_rows
from ml_service.feedback.windows import References, WindowReport, judge, outcomes
from ml_service.ingestion.current import base_version
from ml_service.pipeline import find_pipeline, load_pipeline
from ml_service.platforms.base import DataVersion, Documents, Log, PipelineRun, Platform

if TYPE_CHECKING:
    import pandas as pd

HISTORY = "feedback/retrainings.jsonl"
_LOCK = "feedback/retraining"


class RetrainingError(ClaimsError):
    """Retraining is not possible."""


@dataclass(frozen=True, slots=True)
class Retraining:
    """What was decided, and done.

    Attributes:
        decision: what the rules say.
        data: the version that was made; None where nothing was done.
        run: of the training pipeline; None where nothing was done.
    """

    decision: Decision
    data: DataVersion | None = None
    run: PipelineRun | None = None


@dataclass(frozen=True)
class Feedback:
    """Where to look, and by which rules.

    Attributes:
        platform: with data, models and pipelines.
        place: where rows are collected.
        data: name of the data set.
        model: name of the model.
        limits: of monitoring.
    """

    platform: Platform
    place: Place
    data: str
    model: str
    limits: MonitoringParameters


def retrain(
    feedback: Feedback,
    log: Log,
    *,
    if_needed: bool,
    dry_run: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Retraining:
    """Look, decide and train.

    Args:
        feedback: where, and by which rules.
        log: takes lines on progress.
        if_needed: whether the rules have to give a reason.
        dry_run: decide, and do nothing.
        clock: this moment, UTC.

    Raises:
        RetrainingError: it was asked for, and there is nothing to learn from.
        ClaimsError: something cannot be read or written.
    """
    with feedback.platform.documents.lock(_LOCK):
        labelled = _labelled(feedback)
        base = base_version(feedback.platform, feedback.data)
        if base is None:
            raise RetrainingError(
                f"there is no data set {feedback.data} to build upon: add one with `mlops data add FILE`"
            )
        before, _ = read_version(feedback.platform.data.fetch(base))
        new = _new_rows(labelled, before, log)
        known = Labelled(len(before), len(new), int((new[TARGET] > 0).sum()))
        if if_needed:
            decision = _decision(feedback, labelled, known, clock())
        else:
            decision = Decision(("asked for",), "")
            if new.empty:
                raise RetrainingError(
                    "no labelled row is new: add labels with `mlops labels add FILE`, or train on what is known with "
                    "`mlops run training`"
                )
        if dry_run or not decision.retrain:
            return Retraining(decision)
        return _train(feedback, decision, before, new, clock, log)


def last_retraining(documents: Documents) -> datetime | None:
    """When training was last begun; None where it never was."""
    lines = (documents.read(HISTORY) or b"").splitlines()
    moments = []
    for line in lines:
        try:
            moments.append(datetime.fromisoformat(json.loads(line)["time"]))
        except (ValueError, KeyError, TypeError):
            # A crash may have torn the last line.
            continue
    return max(moments, default=None)


def newest_windows(
    feedback: Feedback, version: int, references: References, now: datetime
) -> list[WindowReport]:
    """The newest windows of a model version that end now, the oldest first."""
    length = timedelta(hours=feedback.limits.window_hours)
    found = []
    for number in range(feedback.limits.windows, 0, -1):
        between = (now - number * length, now - (number - 1) * length)
        rows = read_rows(feedback.place, *between, version).table
        found.append(judge(rows, between, references.of(version), feedback.limits))
    return found


def _decision(
    feedback: Feedback, labelled: pd.DataFrame, known: Labelled, now: datetime
) -> Decision:
    champion = feedback.platform.models.champion()
    if champion is None:
        raise RetrainingError("there is no champion to judge: `mlops run training` makes one")
    references = References(feedback.platform)
    own = labelled[labelled[MODEL_VERSION] == champion.version]
    return decide(
        newest_windows(feedback, champion.version, references, now),
        outcomes(own, references, feedback.limits),
        known,
        last_retraining(feedback.platform.documents),
        feedback.limits,
        now,
    )


def _labelled(feedback: Feedback) -> pd.DataFrame:
    rows = read_all(feedback.place).table
    return with_labels(rows, read_labels(feedback.place))


def _new_rows(labelled: pd.DataFrame, before: pd.DataFrame, log: Log) -> pd.DataFrame:
    """Labelled rows that the data do not have, as rows of data."""
    rows = labelled.drop_duplicates(KEY)
    lacking = [name for name in schema.FEATURE_NAMES if name not in rows or rows[name].isna().any()]
    if lacking and len(rows):
        raise RetrainingError(
            f"{lacking[0]} was not kept of collected rows (MLOPS_COLLECT_OMIT): models cannot be trained on them. Add "
            "the rows with their outcome by `mlops data add FILE`"
        )
    rows = rows.assign(**{ID: [_row_id(key) for key in key_of(rows)]})
    rows = rows[~rows[ID].isin(before[ID])][list(schema.COLUMNS)]
    good = np.ones(len(rows), dtype=np.bool_)
    for name in schema.FEATURE_NAMES:
        for rule in value_rules(name):
            good &= ~rule.broken(rows[name].to_numpy())
    if not good.all():
        log(f"{int((~good).sum()):,} labelled rows are outside the data contract and left out")
    return rows[good]


def _row_id(key: str) -> int:
    """The id of a collected row: always the same, so that it stays in its part of the split, and never twice."""
    digest = hashlib.sha256(key.encode()).digest()
    # The contract has ids that are exact as floating point numbers too.
    return int.from_bytes(digest[:8], "big") >> 11


def _train(
    feedback: Feedback,
    decision: Decision,
    before: pd.DataFrame,
    new: pd.DataFrame,
    clock: Callable[[], datetime],
    log: Log,
) -> Retraining:
    import pandas as pd

    platform = feedback.platform
    reason = "; ".join(decision.reasons)
    both = pd.concat(
        [before, new.astype({name: before[name].dtype for name in new})], ignore_index=True
    )
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside) / f"labelled-{clock():%Y%m%d-%H%M%S}.parquet"
        write_parquet(both, file)
        version, _ = platform.data.add(feedback.data, file, log)
    log(f"{version.name} version {version.version}: {len(before):,} rows and {len(new):,} new ones")
    note = {"time": clock().isoformat(), "reason": reason, "data_version": version.version}
    # Before it begins: one that is killed is not begun again and again.
    platform.documents.append(HISTORY, json.dumps(note).encode())
    parameters = {
        "data": feedback.data,
        "data_version": str(version.version),
        "model_name": feedback.model,
        "reason": reason,
    }
    run = platform.pipelines.run(load_pipeline(find_pipeline("training")), parameters, log)
    return Retraining(decision, version, run)
