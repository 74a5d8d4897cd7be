"""Options that the commands of ``mlops ingest`` share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from insurance_claims.errors import ClaimsError

if TYPE_CHECKING:
    from ml_service.platforms.base import Platform

LandingOption = Annotated[
    str,
    typer.Option(
        metavar="FOLDER|URL",
        envvar="MLOPS_LANDING",
        help="Where files are dropped: a folder, or a container's address without any secret. Who logs in to Azure "
        "Storage: AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN, or else a managed identity.",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Of the data set. Default: DATASET_NAME.")
]
MaxBadOption = Annotated[
    float,
    typer.Option(
        min=0, max=0.999, help="With a larger share of bad rows, nothing of a file is taken."
    ),
]
TriesOption = Annotated[
    int, typer.Option(min=1, help="After so many failures a file is given up: a dead letter.")
]
RemoveOption = Annotated[
    bool,
    typer.Option("--remove", help="Remove files from the landing once their outcome is written."),
]
TrainOption = Annotated[
    bool, typer.Option("--train/--no-train", help="Train with what has arrived.")
]
SettleOption = Annotated[
    float,
    typer.Option(min=0, help="Seconds that a file in a folder stays as it is before it is read."),
]
EngineOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where files are read: local, in one process, or dask, on a cluster, a file a worker.",
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="With --engine dask: of a running Dask scheduler. Default: DASK_SCHEDULER_ADDRESS, else processes on "
        "this machine.",
    ),
]


def checked_engine(where: Platform, engine: str, scheduler: str | None) -> str:
    """The engine that was asked for; what this process starts finds the scheduler.

    Raises:
        typer.BadParameter: the options do not fit together.
        ClaimsError: Dask is not there.
    """
    from insurance_claims.dask_cluster import SCHEDULER, require_dask
    from insurance_claims.ingestion.engines import ENGINES

    if engine not in ENGINES:
        raise typer.BadParameter(f"there is no engine {engine!r}; there is: {', '.join(ENGINES)}")
    if engine != "dask":
        if scheduler is not None:
            raise typer.BadParameter("--scheduler is for --engine dask")
        return engine
    if where.name == "azureml":
        raise ClaimsError(
            "the compute of Azure Machine Learning has no Dask: leave --engine dask out, or ingest on the platform "
            "local"
        )
    require_dask()
    if scheduler is not None:
        os.environ[SCHEDULER] = scheduler
    return engine
