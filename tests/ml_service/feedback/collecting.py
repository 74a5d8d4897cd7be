"""Scored rows to collect, and a platform that keeps data and documents and trains nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from insurance_claims import schema
from insurance_claims.data.synthesize import synthesize
from insurance_claims.model import load_model
from insurance_claims.monitoring.collected import Place, partition
from insurance_claims.monitoring.conversion import rows_table
from insurance_claims.monitoring.spool import to_bytes
from insurance_claims.parameters import load_parameters
from insurance_claims.registry import ModelVersion
from ml_service.pipeline import Pipeline
from ml_service.platforms.base import PipelineRun, Platform, RunStatus
from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.platforms.local.state import State

DATA = "claims"
VERSION = 3
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMITS = load_parameters().monitoring
_ROWS = 250
"""Of a request."""


class StandIn:
    """A platform: its data and documents are real, its one model is a folder, and runs are only noted.

    Args:
        home: data and a model folder; a copy is made where something is added.
        documents: folder of its documents.

    Attributes:
        runs: parameters of the runs that were asked for.
        error: of the next run.
    """

    def __init__(self, home: Path, documents: Path) -> None:
        own = documents.with_name("state")
        shutil.copytree(home / "data", own / "data")
        self.data = LocalData(State(own))
        self.documents = LocalDocuments(documents)
        self.models = self
        self.pipelines = self
        self.folder = home / "model"
        self.runs: list[dict[str, str]] = []
        self.error: str | None = None

    @property
    def platform(self) -> Platform:
        """Itself."""
        return cast(Platform, self)

    def get(self, version: int) -> ModelVersion:
        """The model, whatever version is asked for."""
        split = {"split": load_parameters().split.model_dump()}
        tags = {"data_name": DATA, "data_version": "1", "parameters": json.dumps(split)}
        tags["metric_gini"] = "0.25"
        return ModelVersion("claims", version, "2026", "run", "source", tags, True)

    def champion(self) -> ModelVersion:
        """The same."""
        return self.get(VERSION)

    def fetch(self, version: int) -> Path:
        """Its folder."""
        return self.folder

    def run(
        self, pipeline: Pipeline, parameters: Mapping[str, str], log: Any, force: bool = False
    ) -> PipelineRun:
        """Note that a run was asked for."""
        resolved = pipeline.resolve(parameters)
        self.runs.append(resolved)
        status = RunStatus.FAILED if self.error else RunStatus.COMPLETED
        return PipelineRun(
            "1", pipeline.name, status, NOW.isoformat(), 1.0, resolved, (), self.error
        )


@cache
def _table(rows: int, seed: int, shift: float) -> pd.DataFrame:
    return synthesize(rows, seed, shift=shift)[0]


def collect(
    place: Place,
    model: Path,
    rows: int,
    *,
    at: datetime = NOW - timedelta(hours=1),
    seed: int = 5,
    shift: float = 0.0,
    version: int = VERSION,
) -> pd.DataFrame:
    """Keep rows as scoring workers do, and return what their labels are.

    Args:
        place: where to.
        model: folder of the one that answers.
        rows: how many.
        at: when they are asked for; all in the same second.
        seed: of the rows. Request ids begin with it.
        shift: of the population.
        version: that the model is.
    """
    table = _table(rows, seed, shift)
    values = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=np.float64)
    scores = load_model(model).predict(values)
    seen, labels = [], []
    for start in range(0, rows, _ROWS):
        part = slice(start, start + _ROWS)
        request_id = f"{seed}-{start}"
        seen.append((at.timestamp(), request_id, to_bytes(values[part]), to_bytes(scores[part])))
        labels.append(
            pd.DataFrame(
                {
                    "request_id": request_id,
                    "row": np.arange(len(values[part])),
                    "target": table[schema.TARGET].to_numpy()[part],
                }
            )
        )
    folder = partition(at.date().isoformat(), version)
    kept = rows_table(seen, ("claims", version), frozenset())
    place.write(f"{folder}/{seed}-{at:%H%M%S}.parquet", kept)
    return pd.concat(labels, ignore_index=True)
