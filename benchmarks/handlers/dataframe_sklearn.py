"""The scoring script of most tutorials: json, a DataFrame, and LightGBM's sklearn wrapper from a pickle."""

import json
import os
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import pandas as pd

_model: Any = None


def init() -> None:
    """Load the pickle that the benchmark put beside the model."""
    global _model
    _model = joblib.load(Path(os.environ["AZUREML_MODEL_DIR"]).parent / "classifier.joblib")


def run(body: str) -> dict[str, list[float]]:
    """Score a request by position."""
    rows = pd.DataFrame(json.loads(body)["data"], columns=_model.feature_name_)
    result: list[float] = _model.predict_proba(rows)[:, 1].tolist()
    return {"result": result}
