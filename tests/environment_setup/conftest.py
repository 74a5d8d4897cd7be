"""The small model of the scoring tests, for the image that serves it, and Azure's schemas."""

from __future__ import annotations

import pytest

from environment_setup.check.__main__ import SCHEMAS, schema_folder
from environment_setup.check.schemas import Schemas
from tests.insurance_claims.scoring.conftest import model_dir, rows

__all__ = ["model_dir", "rows"]


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    """Azure's own schemas."""
    folder = schema_folder()
    if folder is None:
        pytest.skip(f"Azure's schemas are not here: set {SCHEMAS} to a folder that has them")
    return Schemas(folder)
