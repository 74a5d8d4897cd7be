"""A model version from the registry of MLFLOW_TRACKING_URI, loaded."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

from insurance_claims import registry
from insurance_claims.errors import ModelError, RegistryError
from insurance_claims.model import load_model
from insurance_claims.scoring.batch.job import BatchModel
from insurance_claims.tracking import reported


def load_registered(name: str, version: str) -> BatchModel:
    """Find, fetch and load a model version.

    Args:
        name: in the registry.
        version: a number, ``champion`` or ``latest``.

    Raises:
        RegistryError: ``version`` is something else, there is no such version, or no registry that answers.
        ModelError: its files are not sound, or not those that were registered.
    """
    wanted = _wanted(version)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is not set, so there is no registry that could hold model {name}: set it to the "
            "tracking server's address, or run the pipeline with `mlops run batch_scoring`"
        )
    from mlflow import MlflowClient

    with reported(f"the registry of {name} cannot be read", RegistryError):
        found = registry.get(MlflowClient(), name, wanted)
    with tempfile.TemporaryDirectory() as aside:
        with reported(f"version {found.version} of {name} cannot be fetched", ModelError):
            folder = registry.fetch(found, Path(aside))
        if problem := registry.files_problem(folder, found.tags):
            raise ModelError(
                f"version {found.version} of {name} is not what was registered: {problem}. "
                "Score with another version"
            )
        return BatchModel(load_model(folder), name, found.version)


def _wanted(version: str) -> int | Literal["champion", "latest"]:
    if version == "champion":
        return "champion"
    if version == "latest":
        return "latest"
    if not (version.isascii() and version.isdecimal()):
        raise RegistryError(f"{version!r} is no model version: give a number, champion or latest")
    return int(version)
