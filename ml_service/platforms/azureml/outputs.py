"""Folders that steps wrote to the datastore, brought to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from insurance_claims.files import whole_folder
from ml_service.platforms.azureml.blobs import Blobs


def download_folder(datastore: Any, path: str, target: Path) -> bool:
    """Download every blob below a path; the folder appears complete or not at all.

    Args:
        datastore: of the SDK: a blob container.
        path: on the datastore, without a slash at its end.
        target: folder that does not exist yet.

    Returns:
        Whether there was anything.
    """
    blobs = Blobs(datastore)
    container = datastore.blob_service.get_container_client(datastore.container_name)
    names = [str(blob.name) for blob in container.list_blobs(name_starts_with=f"{path}/")]
    if not names:
        return False
    with whole_folder(target) as folder:
        for name in names:
            file = folder / name.removeprefix(f"{path}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            blobs.download(name, file)
    return True
