"""The champion that a challenger has to beat: from the registry, from a folder, or none."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from insurance_claims import registry
from insurance_claims.errors import ClaimsError, ModelError, RegistryError
from insurance_claims.model import Model, load_model
from insurance_claims.tracking import reported

NONE = "none"


@dataclass(frozen=True)
class Champion:
    """A loaded champion.

    Attributes:
        model: itself.
        version: in the registry; None where it was given as a folder.
    """

    model: Model
    version: int | None

    @property
    def name(self) -> str:
        """For people."""
        return "champion" if self.version is None else f"champion, version {self.version}"


def load_champion(given: str | None, model_name: str) -> Champion | None:
    """Find and load the champion.

    Args:
        given: a model folder, ``none``, or None for the registry of MLFLOW_TRACKING_URI.
        model_name: in the registry.

    Returns:
        The champion; None where there is none, or no registry.

    Raises:
        ModelError: there is a champion that cannot be loaded. Judging without it would promote a
            challenger that may be worse.
        RegistryError: the registry does not answer.
    """
    if given == NONE:
        return None
    if given is not None:
        return Champion(_load(Path(given), f"the champion {given}"), None)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return _registered(model_name)


def _registered(model_name: str) -> Champion | None:
    from mlflow import MlflowClient

    with reported(f"the registry of {model_name} cannot be read", RegistryError):
        found = registry.champion(MlflowClient(), model_name)
    if found is None:
        return None
    what = f"the champion, version {found.version} of {model_name},"
    with tempfile.TemporaryDirectory() as aside:
        try:
            with reported(found.source):
                folder = registry.fetch(found, Path(aside))
        except ClaimsError as error:
            raise ModelError(_unloadable(what, str(error))) from None
        if problem := registry.files_problem(folder, found.tags):
            reason = f"its files are not those that were registered ({problem})"
            raise ModelError(_unloadable(what, reason))
        return Champion(_load(folder, what), found.version)


def _load(folder: Path, what: str) -> Model:
    try:
        return load_model(folder)
    except ModelError as error:
        raise ModelError(_unloadable(what, str(error))) from None


def _unloadable(what: str, reason: str) -> str:
    return (
        f"{what} cannot be loaded, so nothing can be compared with it: {reason}. Make a version "
        "that loads the champion (`mlops models promote N`), or start a model of another name"
    )
