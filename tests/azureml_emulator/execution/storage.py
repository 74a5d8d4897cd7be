"""What a step reads and writes, as folders: of the storage account where it is mounted, copies of it elsewhere."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Refused
from tests.azureml_emulator.services.datasets import dataset_path
from tests.azureml_emulator.services.datastores import container_of

_ADDRESS = re.compile(r"azureml://.*?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class Location:
    """A path of a datastore."""

    datastore: str
    path: str

    def on_disk(self, workspace: Workspace) -> Path:
        """Where its blobs are kept."""
        return workspace.blob_file(container_of(workspace, self.datastore), self.path)


def dataset_location(workspace: Workspace, saved: str) -> Location:
    """What a saved dataset stands for.

    Raises:
        Refused: there is no such dataset, or it is no path of a datastore.
    """
    address = dataset_path(workspace, saved)
    match = _ADDRESS.match(address)
    if match is None:
        raise Refused(400, "UserError", f"{address} is no path of a datastore.")
    return Location(match["datastore"], match["path"].removesuffix("/**").strip("/"))


def provide(found: Path, mode: str, target: Path) -> Path:
    """Make a file or a folder of the storage account readable for a step.

    Args:
        found: where it is kept.
        mode: ``download`` copies it; else it is read where it is.
        target: where a copy goes.

    Returns:
        The path to read.

    Raises:
        FileNotFoundError: nothing is there.
    """
    if not found.exists():
        raise FileNotFoundError(f"there is no input {target.name} in the storage account")
    if mode != "download":
        return found
    if found.is_file():
        target.mkdir(parents=True)
        return Path(shutil.copy(found, target))
    return Path(shutil.copytree(found, target))


def upload(folder: Path, target: Path) -> None:
    """Put what a step wrote into the storage account."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
