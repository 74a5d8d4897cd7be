"""Artifacts: folders that are kept with a run and given to later jobs and pipelines."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from azure_pipelines_local.matching import files_of, find, split_patterns
from azure_pipelines_local.state import copy_whole

_NAME = re.compile(r"[^\\/:*?\"<>|]+")


class ArtifactError(ValueError):
    """An artifact cannot be published or is not there."""


def publish(source: Path, store: Path, name: str, add: bool = False) -> int:
    """Keep a file or folder as an artifact.

    Args:
        source: an existing file or folder.
        store: the run's folder of artifacts.
        add: whether an artifact of that name may be there already and gets these files too.

    Returns:
        How many files.

    Raises:
        ArtifactError: the name is taken or cannot be one, or the source does not exist.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ArtifactError(f"{name!r} cannot be an artifact's name")
    if not source.exists():
        raise ArtifactError(f"{source} does not exist: there is nothing to publish")
    target = store / name
    if target.exists() and not add:
        raise ArtifactError(f"this run has an artifact {name!r} already: choose another name")
    files = list(files_of(source)) if source.is_dir() else [source]
    if target.exists():
        for file in files:
            inside = target / (file.relative_to(source) if source.is_dir() else file.name)
            copy_whole(file, inside)
    elif source.is_dir():
        copy_whole(source, target)
    else:
        # Renamed into place as a folder, so that nobody sees the artifact without its file.
        aside = store / f".{name}"
        copy_whole(source, aside / source.name)
        aside.rename(target)
    return len(files)


def names(store: Path) -> list[str]:
    """The artifacts of a run."""
    if not store.is_dir():
        return []
    folders = (path for path in store.iterdir() if path.is_dir())
    return sorted(path.name for path in folders if not path.name.startswith("."))


def locate(stores: Sequence[Path], name: str) -> Path:
    """The folder of an artifact, in the first store that has it.

    Raises:
        ArtifactError: none has it; says what there is.
    """
    for store in stores:
        for known in names(store):
            if known.lower() == name.lower():
                return store / known
    there = ", ".join(known for store in stores for known in names(store)) or "none"
    raise ArtifactError(f"there is no artifact {name!r}; there is: {there}")


def fetch(artifact: Path, target: Path, patterns: str) -> int:
    """Copy an artifact's files into a folder.

    Args:
        patterns: one a line; those of files to take.

    Returns:
        How many files.
    """
    files = find(artifact, split_patterns(patterns) or ["**"])
    for file in files:
        copied = target / file.relative_to(artifact)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copied, follow_symlinks=False)
    target.mkdir(parents=True, exist_ok=True)
    return len(files)
