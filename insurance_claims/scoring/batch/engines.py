"""Where a batch is scored, by name."""

from __future__ import annotations

from functools import partial

from insurance_claims.scoring.batch.job import Engine
from insurance_claims.scoring.batch.run import score_here

ENGINES = ("local", "dask")


def choose_engine(name: str, scheduler: str | None, workers: int) -> Engine:
    """An engine.

    Args:
        name: ``local``, this process, or ``dask``, a cluster.
        scheduler: address of a running Dask scheduler; None as ``dask_client`` has it.
        workers: how many processes Dask starts where it has to start its own.

    Raises:
        ClusterError: Dask is not installed.
    """
    if name == "local":
        return score_here
    # Only here: most batches do without, and importing it takes a second.
    from insurance_claims.dask_cluster import dask_client
    from insurance_claims.scoring.batch.on_dask import dask_engine

    return dask_engine(partial(dask_client, scheduler, workers))
