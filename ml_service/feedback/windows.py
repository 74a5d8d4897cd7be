"""Scored rows, judged: against the data that the model was trained on, and against what became of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.content import read_version
from insurance_claims.data.split import HOLDOUT, parts_of
from insurance_claims.drift.features import SCORE, FeatureDrift, compare
from insurance_claims.drift.performance import Performance, performance, shortfalls
from insurance_claims.model import load_model
from insurance_claims.monitoring.collected import MODEL_VERSION, TIME
from insurance_claims.parameters import MonitoringParameters, SplitParameters
from insurance_claims.schema import TARGET
from ml_service.platforms.base import Platform, PlatformError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_MOST_REFERENCE = 100_000
"""Rows of the data version that are compared with: more cost time and tell nothing more."""
_STRETCHES = 24


@dataclass(frozen=True)
class Reference:
    """What a model version is compared with.

    Attributes:
        version: of the model.
        data: name and version of the data.
        values: by feature, of rows of the data version; under ``score`` the model's scores of holdout rows, which it
            never saw in training.
        gini: at registration; None where the model does not say.
    """

    version: int
    data: str
    values: dict[str, Floats]
    gini: float | None


@dataclass(frozen=True)
class WindowReport:
    """The rows that one model version scored in one stretch of time, against those that it was trained on.

    Attributes:
        version: of the model.
        data: name and version of the data that it was trained on.
        since: first moment.
        until: first moment after it.
        rows: that it scored.
        features: each against the reference; empty where there are fewer rows than ``minimum_rows``.
    """

    version: int
    data: str
    since: datetime
    until: datetime
    rows: int
    features: tuple[FeatureDrift, ...]

    @property
    def drifted(self) -> list[FeatureDrift]:
        """The features that have drifted."""
        return [feature for feature in self.features if feature.drifted]


@dataclass(frozen=True)
class Outcome:
    """How good one model version was in one stretch of time, as far as labels say.

    Attributes:
        version: of the model.
        since: when its first labelled row was scored.
        until: when its last one was.
        performance: of the labelled rows.
        shortfalls: why it is below what it may be.
        gini_before: of the version when it was registered; None where the model does not say.
    """

    version: int
    since: datetime
    until: datetime
    performance: Performance
    shortfalls: tuple[str, ...]
    gini_before: float | None


class References:
    """What model versions are compared with, each looked up once.

    Args:
        platform: that holds models and data.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.of = cache(self._read)

    def _read(self, version: int) -> Reference:
        model = self._platform.models.get(version)
        try:
            name, number = model.tags["data_name"], model.tags["data_version"]
            split = SplitParameters(**json.loads(model.tags["parameters"])["split"])
        except (KeyError, ValueError):
            raise PlatformError(
                f"model version {version} does not say what data it was trained on: `mlops run training` registers "
                "one that does"
            ) from None
        folder = self._platform.data.fetch(self._platform.data.get(name, number))
        table, _ = read_version(folder)
        chosen = np.unique(np.linspace(0, len(table) - 1, _MOST_REFERENCE).astype(np.int64))
        table = table.iloc[chosen]
        values = {
            feature: table[feature].to_numpy(dtype=np.float64) for feature in schema.FEATURE_NAMES
        }
        unseen = table[parts_of(table, split) == HOLDOUT]
        booster = load_model(self._platform.models.fetch(version))
        rows = unseen[list(schema.FEATURE_NAMES)].to_numpy(dtype=np.float64)
        values[SCORE] = booster.predict(rows)
        gini = model.tags.get("metric_gini")
        return Reference(version, f"{name} {number}", values, float(gini) if gini else None)


def judge(
    rows: pd.DataFrame,
    between: tuple[datetime, datetime],
    reference: Reference,
    limits: MonitoringParameters,
) -> WindowReport:
    """Compare what one model version scored with what it was trained on.

    Args:
        rows: collected, of one stretch of time; those of other versions are left out.
        between: first moment, and first moment after it.
        reference: of the version.
        limits: of monitoring.
    """
    own = rows[rows[MODEL_VERSION] == reference.version]
    features: list[FeatureDrift] = []
    if len(own) >= limits.minimum_rows:
        features = compare(reference.values, _values(own), limits)
    return WindowReport(reference.version, reference.data, *between, len(own), tuple(features))


def outcomes(
    labelled: pd.DataFrame, references: References, limits: MonitoringParameters
) -> list[Outcome]:
    """How good each model version was over time.

    Args:
        labelled: collected rows with their score and target.
        references: say how good a version was when it was registered.
        limits: ``window_hours`` is the length of a stretch; where there would be more than 24, they are longer.

    Returns:
        In order of version, then time.
    """
    if labelled.empty:
        return []
    first = labelled[TIME].min()
    length = max(timedelta(hours=limits.window_hours), (labelled[TIME].max() - first) / _STRETCHES)
    stretch = (labelled[TIME] - first) // length
    found = []
    for _, own in labelled.groupby([labelled[MODEL_VERSION], stretch]):
        version = int(own[MODEL_VERSION].iloc[0])
        target, score = (own[name].to_numpy(dtype=np.float64) for name in (TARGET, SCORE))
        figures = performance(target, score, limits)
        before = references.of(version).gini
        reasons = shortfalls(figures, before, limits)
        since, until = own[TIME].min().to_pydatetime(), own[TIME].max().to_pydatetime()
        found.append(Outcome(version, since, until, figures, reasons, before))
    return found


def _values(rows: pd.DataFrame) -> dict[str, Floats]:
    """Values by feature. What was not kept of a row is left out, and a feature that was never kept."""
    values = {}
    for name in (SCORE, *schema.FEATURE_NAMES):
        if name in rows:
            column = rows[name].to_numpy(dtype=np.float64)
            if (there := column[~np.isnan(column)]).size:
                values[name] = there
    return values
