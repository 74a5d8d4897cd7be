"""Does a registered version load, and score as it did when it was registered?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ml_service.cli.context import progress

if TYPE_CHECKING:
    from ml_service.platforms.base import Platform


def golden_check(where: Platform) -> Callable[[int], None]:
    """A check that raises ClaimsError unless a version's files are sound and it gives its golden predictions."""

    def check(version: int) -> None:
        import numpy as np

        from insurance_claims.errors import ModelError
        from insurance_claims.model import load_model
        from ml_service.smoke_test import GOLDEN_FILE, TOLERANCE, load_golden

        progress(f"checking version {version}: its files and its golden predictions")
        folder = where.models.fetch(version)
        golden = load_golden(folder / GOLDEN_FILE)
        scores = load_model(folder).predict(np.array(golden.rows, dtype=np.float64))
        off = float(np.abs(scores - np.array(golden.scores)).max())
        if not off <= TOLERANCE:
            raise ModelError(
                f"version {version} does not give its golden predictions: off by up to {off:.2g}. Its model and "
                f"{GOLDEN_FILE} do not belong together; choose another version"
            )

    return check
