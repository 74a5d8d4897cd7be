"""A loaded model that answers scoring requests: bytes in, bytes out, no HTTP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from insurance_claims.errors import ModelError
from insurance_claims.model import MODEL_FILE, Model, load_model
from insurance_claims.parameters import ScoringParameters
from insurance_claims.scoring.request import Rows, Scores, parse_request


class Scored(NamedTuple):
    """An answer, and what it is of.

    Attributes:
        answer: JSON: ``{"result": [score, ...], "model": {"name", "version"}, "request_id"}``.
        rows: of the request, in the schema's order.
        scores: one a row.
    """

    answer: bytes
    rows: Rows
    scores: Scores


@dataclass(frozen=True, slots=True)
class Scorer:
    """A loaded model and what it takes to answer requests with it."""

    model: Model
    name: str
    version: int
    limits: ScoringParameters

    def score(self, body: bytes, request_id: str) -> Scored:
        """Answer one request.

        Args:
            body: of the request.
            request_id: repeated in the answer.

        Raises:
            RequestError: something is wrong with the body.
            ModelError: the model gave a score that is no number.
        """
        rows = parse_request(body, self.limits)
        scores = self._predict(rows)
        answer = {
            "result": scores,
            "model": {"name": self.name, "version": self.version},
            "request_id": request_id,
        }
        return Scored(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), rows, scores)

    def _predict(self, rows: Rows) -> Scores:
        # Most requests hold one row, and there the set-up of a call costs more than the trees.
        if len(rows) == 1:
            score = self.model.predict_row(rows[0])
            if math.isfinite(score):
                return [score]
        else:
            scores = self.model.predict(np.asarray(rows, dtype=np.float64))
            if np.isfinite(scores).all():
                return scores
        raise ModelError(f"model {self.name} version {self.version} gave a score that is no number")


def load_scorer(model_dir: Path, limits: ScoringParameters) -> Scorer:
    """Load the model that a folder holds.

    Args:
        model_dir: ends in ``<name>/<version>``. It is the model folder, or holds it and no other.
        limits: of a request.

    Raises:
        ModelError: the path has another form, there is no model folder or more than one, or it is not sound.
    """
    if not model_dir.name.isdecimal():
        raise ModelError(
            f"{str(model_dir)!r} cannot be served: the path has to end in <name>/<version>"
        )
    folders = [
        file.parent for file in (*model_dir.glob(MODEL_FILE), *model_dir.glob(f"*/{MODEL_FILE}"))
    ]
    if len(folders) != 1:
        raise ModelError(
            f"{model_dir} holds {len(folders)} files {MODEL_FILE}, itself and its folders: expected one"
        )
    return Scorer(load_model(folders[0]), model_dir.parent.name, int(model_dir.name), limits)
