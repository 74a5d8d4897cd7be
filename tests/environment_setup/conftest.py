"""The small model of the scoring tests, for the image that serves it."""

from __future__ import annotations

from tests.insurance_claims.scoring.conftest import model_dir, rows

__all__ = ["model_dir", "rows"]
