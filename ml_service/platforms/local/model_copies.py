"""The copies of registered models that an endpoint serves: checked when they are made, and its own from then on."""

from __future__ import annotations

import shutil
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, sha256_of_file, whole_folder
from ml_service.platforms.base import PlatformError


def copy_model(source: Path, target: Path) -> bool:
    """Copy and check a model folder; say whether it is another than the copy that was there.

    Raises:
        PlatformError: the folder is not whole, or was changed after it was written.
    """
    wanted = _model_sha256(source)
    with suppress(PlatformError):
        if _model_sha256(target) == wanted:
            return False
    shutil.rmtree(target, ignore_errors=True)
    with whole_folder(target) as aside:
        for file in source.rglob("*"):
            if file.is_file():
                copy = aside / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        if _model_sha256(aside) != wanted:
            raise PlatformError(f"{source} changed while it was copied: deploy again")
    return True


def tidy_models(models: Path, needed: Container[int]) -> None:
    """Remove copies of versions that are not needed, and half copies."""
    if models.is_dir():
        for folder in models.iterdir():
            if not (folder.name.isdecimal() and int(folder.name) in needed):
                shutil.rmtree(folder, ignore_errors=True)


def _model_sha256(folder: Path) -> str:
    # Not by loading the model: that takes seconds of imports, and the server does it at once.
    try:
        expected = read_json(folder / "model.json")["sha256"]
        actual = sha256_of_file(folder / "model.txt")
    except (ClaimsError, OSError, KeyError, TypeError) as error:
        raise PlatformError(f"{folder} is not a model folder: {error}") from None
    if actual != expected:
        raise PlatformError(
            f"{folder / 'model.txt'} is not the file that model.json was written for: its sha256 differs"
        )
    return actual
