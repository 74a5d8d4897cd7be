"""Where a batch is processed, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from insurance_claims.ingestion.batch import Batch, Engine, FileResult, process_batch
from insurance_claims.ingestion.storage import open_store

ENGINES = ("local", "dask")


def choose_engine(name: str) -> Engine:
    """An engine.

    Args:
        name: ``local``, this process, or ``dask``, a cluster: the one of DASK_SCHEDULER_ADDRESS, or one worker a
            processor of this machine.

    Raises:
        ClusterError: Dask is not installed.
    """
    if name == "local":
        return _here
    # Only here: most batches do without, and importing it takes a second.
    from insurance_claims.ingestion.on_dask import dask_engine

    return dask_engine(_connect)


def require_cluster(name: str) -> None:
    """Make sure that an engine has what it needs.

    Raises:
        ClusterError: it is ``dask``, and there is no cluster with a worker.
    """
    if name == "dask":
        with _connect():
            pass


def _here(landing: str, batch: Batch, output: Path, max_bad: float) -> Iterator[FileResult]:
    return process_batch(open_store(landing), batch, output, max_bad)


def _connect() -> AbstractContextManager[Any]:
    from insurance_claims.dask_cluster import dask_client

    return dask_client(None, os.cpu_count() or 1)
