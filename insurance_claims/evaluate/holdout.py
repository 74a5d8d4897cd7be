"""The frozen holdout of a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insurance_claims import schema
from insurance_claims.data.dataset import read_dataset_manifest, read_parts
from insurance_claims.evaluate.metrics import Floats


@dataclass(frozen=True)
class Holdout:
    """Rows that no model was trained on.

    Attributes:
        features: shape (n, 57), in the schema's order.
        target: shape (n,).
        manifest: of the dataset folder.
    """

    features: Floats
    target: Floats
    manifest: dict[str, Any]

    def column(self, name: str) -> Floats:
        """One feature's values, shape (n,)."""
        return self.features[:, schema.FEATURE_NAMES.index(name)]


def read_holdout(folder: Path) -> Holdout:
    """Read and check the holdout of a dataset folder.

    Raises:
        DataError: the folder is not what prepare writes, or the holdout has no rows.
    """
    manifest = read_dataset_manifest(folder)
    rows = read_parts(folder, manifest, ["holdout"])
    return Holdout(rows.features, rows.target, manifest)
