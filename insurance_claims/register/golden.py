"""Golden predictions: rows scored at registration, which every endpoint has to score the same.

The rows are synthetic: no customer's data travels with a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from insurance_claims.data.synthesize import golden_rows
from insurance_claims.model import load_model

GOLDEN_FILE = "golden.json"
_ROWS = 20
_SEED = 57


def golden(model: Path) -> dict[str, Any]:
    """Rows (each 57 numbers in the schema's order) and what the model folder's model says of them."""
    rows = golden_rows(_ROWS, _SEED)
    return {"rows": rows.tolist(), "scores": load_model(model).predict(rows).tolist()}
