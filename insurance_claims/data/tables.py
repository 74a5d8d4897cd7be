"""Tables written piece by piece to CSV or Parquet files that appear whole or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from insurance_claims.errors import DataError
from insurance_claims.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".csv", ".csv.gz", ".parquet")

Columns = Mapping[str, NDArray[Any]]

_ROW_GROUP = 131_072
"""Rows that are handed on together: Parquet files of many small row groups are slow to read."""


@contextmanager
def table_writer(path: Path) -> Iterator[Callable[[Columns], None]]:
    """Give a function that appends rows; put the file at ``path`` when the block ends well.

    Args:
        path: ends in .csv, .csv.gz or .parquet, which says what is written. A file there is replaced.

    Raises:
        DataError: the ending is another one, or nothing can be written there.
    """
    if not path.name.endswith(ENDINGS):
        raise DataError(f"{path} has to end in .csv, .csv.gz or .parquet: that says what to write")
    import pyarrow as pa

    with _aside(path) as file, ExitStack() as opened:
        pieces: list[Columns] = []
        write: Callable[[pa.Table], None] | None = None

        def flush() -> None:
            nonlocal write
            if pieces:
                table = pa.table(
                    {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
                )
                pieces.clear()
                write = write or _open(opened, file, path.name, table.schema)
                write(table)

        def append(columns: Columns) -> None:
            pieces.append(columns)
            if sum(len(next(iter(piece.values()))) for piece in pieces) >= _ROW_GROUP:
                flush()

        yield append
        flush()


def _open(
    opened: ExitStack, file: IO[bytes], name: str, schema: pa.Schema
) -> Callable[[pa.Table], None]:
    import pyarrow.csv
    import pyarrow.parquet

    if name.endswith(".parquet"):
        parquet = pyarrow.parquet.ParquetWriter(file, schema)
        opened.enter_context(parquet)
        return parquet.write_table  # type: ignore[no-any-return]
    sink: Any = file
    if name.endswith(".gz"):
        # No time of writing in the header: the same rows are the same bytes.
        sink = opened.enter_context(gzip.GzipFile("", "wb", 3, file, mtime=0))
    # Kaggle's files have no quotes.
    options = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
    lines = opened.enter_context(pyarrow.csv.CSVWriter(sink, schema, write_options=options))
    return lines.write_table  # type: ignore[no-any-return]


@contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """``whole_file``, where a place that cannot be written to is one clear message."""
    target = path.absolute()
    with ExitStack() as stack:
        try:
            if target.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            file = stack.enter_context(whole_file(target))
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from None
        yield file
