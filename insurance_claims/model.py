"""A model folder: LightGBM's text format plus model.json. Loading one runs no code."""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import ClaimsError, ModelError
from insurance_claims.files import read_json, write_json, write_whole

MODEL_FILE = "model.txt"
METADATA_FILE = "model.json"
FORMAT = "lightgbm-text"

_PASSIVE = frozenset({".json", ".md", ".png", ".svg", ".txt"})
"""Endings of the files that a model folder may hold: none of them is code, and nothing loads one as code."""

# Public in LightGBM's C interface, private in its Python package, which is pinned for this.
_LIBRARY = lgb.basic._LIB  # type: ignore[attr-defined]
_WIDTH = len(schema.FEATURE_NAMES)
_RowBuffer = ctypes.c_double * _WIDTH
_FLOAT64 = 1
_PROBABILITY = 0


class _SingleRow:
    """LightGBM's C call for one row, which sets up once what ``Booster.predict`` sets up in every call.

    It takes a fifth of the time and gives the same bits. Threads may share it: the C side locks, and nothing that a
    call writes to outlives the call.
    """

    def __init__(self, booster: lgb.Booster) -> None:
        self._predict = _LIBRARY.LGBM_BoosterPredictForMatSingleRowFast
        self._handle = ctypes.c_void_p()
        status = _LIBRARY.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle,
            ctypes.c_int(_PROBABILITY),
            ctypes.c_int(0),
            ctypes.c_int(booster.best_iteration),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(_WIDTH),
            ctypes.c_char_p(b"num_threads=1"),
            ctypes.byref(self._handle),
        )
        lgb.basic._safe_call(status)
        # The arguments keep the booster alive for as long as there is a handle into it.
        weakref.finalize(self, _free_single_row, self._handle, booster)

    def __call__(self, row: Iterable[float]) -> float:
        score = ctypes.c_double()
        count = ctypes.c_int64()
        status = self._predict(
            self._handle, _RowBuffer(*row), ctypes.byref(count), ctypes.byref(score)
        )
        lgb.basic._safe_call(status)
        return score.value


def _free_single_row(handle: ctypes.c_void_p, _: lgb.Booster) -> None:
    _LIBRARY.LGBM_FastConfigFree(handle)


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        booster: LightGBM's model. It takes all features of the schema, in the schema's order.
        metadata: what model.json holds.
    """

    booster: lgb.Booster
    metadata: dict[str, Any]

    def predict(self, rows: NDArray[np.float64], threads: int = 1) -> NDArray[np.float64]:
        """Probability of a claim, or its expected cost.

        Args:
            rows: shape (n, 57), features in the schema's order, -1 where a value is missing.
            threads: of LightGBM. 1 is fastest for small requests, and keeps servers from fighting over cores.

        Returns:
            Shape (n,), 0 or more; probabilities up to 1.
        """
        return np.asarray(self.booster.predict(rows, num_threads=threads), dtype=np.float64)

    def predict_row(self, row: Sequence[float] | NDArray[np.float64]) -> float:
        """The score of one row: what ``predict`` gives, bit for bit, in a fifth of the time.

        Args:
            row: 57 numbers, features in the schema's order, -1 where a value is missing. A list is fastest.

        Returns:
            0 or more; a probability up to 1.

        Raises:
            ValueError: ``row`` has another length.
        """
        if len(row) != _WIDTH:
            raise ValueError(f"row has {len(row)} values, expected {_WIDTH}")
        return self._single_row(row)

    @cached_property
    def _single_row(self) -> _SingleRow:
        return _SingleRow(self.booster)


def save_model(folder: Path, model_text: str, metadata: dict[str, Any]) -> None:
    """Write model.txt and model.json into an existing folder.

    Args:
        folder: where to write; give a folder of ``whole_folder`` so that it appears whole.
        model_text: ``Booster.model_to_string()``.
        metadata: goes to model.json beside format, schema version, features in order and the text's sha256.
    """
    # LightGBM's own save_model does not say when the disk is full.
    write_whole(folder / MODEL_FILE, model_text)
    write_json(
        folder / METADATA_FILE,
        {
            "format": FORMAT,
            "schema_version": schema.SCHEMA_VERSION,
            "sha256": hashlib.sha256(model_text.encode()).hexdigest(),
            "features": list(schema.FEATURE_NAMES),
            **metadata,
        },
    )


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read and check model.json alone.

    Raises:
        ModelError: it is missing, not JSON, or of another format or schema.
    """
    path = folder / METADATA_FILE
    try:
        metadata = read_json(path)
    except ClaimsError as error:
        raise ModelError(f"{folder} is not a model folder: {error}") from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelError(f"{path} does not describe a model of format {FORMAT}")
    if metadata.get("schema_version") != schema.SCHEMA_VERSION:
        raise ModelError(
            f"{path} was made for schema {metadata.get('schema_version')}, this is {schema.SCHEMA_VERSION}: train again"
        )
    if tuple(metadata.get("features", ())) != schema.FEATURE_NAMES:
        raise ModelError(
            f"{path} names other features than the schema, or in another order: train again"
        )
    return metadata


def load_model(folder: Path) -> Model:
    """Load and check a model folder.

    Raises:
        ModelError: it is incomplete, was changed after it was written, holds files that are no part of a model, or
            does not fit the schema.
    """
    _refuse_strangers(folder)
    metadata = read_metadata(folder)
    path = folder / MODEL_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(text).hexdigest() != metadata.get("sha256"):
        raise ModelError(
            f"{path} is not the file that model.json was written for: its sha256 differs"
        )
    try:
        booster = lgb.Booster(model_str=text.decode("utf-8"))
    except (lgb.basic.LightGBMError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a LightGBM model: {error}") from None
    if booster.num_feature() != len(schema.FEATURE_NAMES):
        raise ModelError(
            f"{path} takes {booster.num_feature()} features, the schema has {len(schema.FEATURE_NAMES)}"
        )
    if booster.num_model_per_iteration() != 1:
        raise ModelError(
            f"{path} gives {booster.num_model_per_iteration()} scores a row, expected one"
        )
    return Model(booster, metadata)


def _refuse_strangers(folder: Path) -> None:
    strangers = [
        path for path in folder.rglob("*") if path.suffix not in _PASSIVE and not path.is_dir()
    ]
    if strangers:
        name = min(strangers).relative_to(folder)
        raise ModelError(
            f"{folder} holds {name}, which is no part of a model: only text, JSON, Markdown and pictures are, for "
            "nothing else can be told from a pickle, which is code. Take the model from where it was registered"
        )
