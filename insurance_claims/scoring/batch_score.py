"""The entry script of batch scoring: ``init`` loads a registered model, ``run`` scores files of rows.

Azure Machine Learning's ParallelRunStep calls them, on as many nodes as are wanted, with mini batches of Parquet files.
The rows that ``run`` returns, ``id,score,model_version``, end up in one file, in no order: ``id`` says which is which.

Nothing is scored that is not understood: whatever is wrong raises, with the reason in the log, and the run fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# Started as a file, not as a module: the folder that holds the package need not be where Python looks.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from insurance_claims import schema  # noqa: E402
from insurance_claims.errors import ClaimsError, DataError, ModelError  # noqa: E402
from insurance_claims.model import Model  # noqa: E402
from insurance_claims.parameters import load_parameters  # noqa: E402
from insurance_claims.scoring.batch.registered import load_registered  # noqa: E402
from insurance_claims.scoring.request import RequestError, check_values  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 65_536
"""Rows that are read at a time: memory stays flat whatever a file holds."""

_scorer: BatchScorer | None = None


class BatchScorer:
    """A model that scores files.

    Args:
        model: loaded.
        version: in the registry.
        headroom: values may be up to this many times the schema's largest.
    """

    def __init__(self, model: Model, version: int, headroom: float) -> None:
        self._model = model
        self._version = version
        self._headroom = headroom

    def score(self, file: Path) -> Iterator[str]:
        """A line ``id,score,model_version`` for each row of a Parquet file.

        Raises:
            DataError: it cannot be read, lacks a column, or holds what cannot be scored.
            ModelError: a score is no number.
        """
        try:
            with pq.ParquetFile(file) as content:
                columns = [schema.ID, *schema.FEATURE_NAMES]
                missing = [name for name in columns if name not in content.schema_arrow.names]
                if missing:
                    raise DataError(f"{file.name} has no column {', '.join(missing)}")
                for batch in content.iter_batches(_ROWS, columns=columns):
                    yield from self._lines(file, batch)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file.name} cannot be read: {error}") from None

    def _lines(self, file: Path, batch: pa.RecordBatch) -> Iterator[str]:
        if any(column.null_count for column in batch.columns):
            raise DataError(f"{file.name} has empty cells: a missing value is {schema.MISSING}")
        rows: NDArray[np.float64] = np.column_stack(
            [batch.column(name).to_numpy() for name in schema.FEATURE_NAMES]
        ).astype(np.float64)
        try:
            check_values(rows, self._headroom)
        except RequestError as error:
            raise DataError(f"{file.name}: {error}") from None
        scores = self._model.predict(rows)
        if not np.isfinite(scores).all():
            raise ModelError(f"version {self._version} gave {file.name} a score that is no number")
        for name, score in zip(batch.column(schema.ID).to_pylist(), scores.tolist(), strict=True):
            yield f"{name},{score!r},{self._version}"


def init() -> None:
    """Load the model that the command line names: ``--model-name NAME --model-version N|champion|latest``.

    Raises:
        ClaimsError: there is no such version, or it is not sound.
    """
    global _scorer
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--model-version", required=True)
    # The other arguments are those of the step itself.
    arguments, _ = parser.parse_known_args()
    _scorer = registered_scorer(arguments.model_name, arguments.model_version)


def run(mini_batch: Sequence[str]) -> list[str]:
    """Score the files of a mini batch.

    Args:
        mini_batch: paths of Parquet files.

    Returns:
        A line a row: ``id,score,model_version``.
    """
    assert _scorer is not None, "init() is called first"
    try:
        return [line for path in mini_batch for line in _scorer.score(Path(path))]
    except ClaimsError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise


def registered_scorer(name: str, version: str) -> BatchScorer:
    """A scorer with a version of the registry of MLFLOW_TRACKING_URI.

    Args:
        name: of the registered model.
        version: its number, ``champion`` or ``latest``.

    Raises:
        RegistryError: there is no such version, or the registry does not answer.
        ModelError: it is not sound, or not what was registered.
    """
    found = load_registered(name, version)
    print(f"scoring with {name} version {found.version}", flush=True)
    return BatchScorer(found.model, found.version, load_parameters().scoring.headroom)
