"""Data versions in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from insurance_claims.files import read_json, whole_folder
from insurance_claims.registry import now
from ml_service.platforms.base import DataVersion, Log, PlatformError
from ml_service.platforms.local.state import State

_FIELDS = tuple(field.name for field in dataclasses.fields(DataVersion))


class LocalData:
    """Versions of data sets below ``.mlops/data/NAME/VERSION``."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, name: str, file: Path, log: Log) -> tuple[DataVersion, bool]:
        """Validate a file and make a version of it; say whether it is new.

        Raises:
            DataError: the file does not keep the contract. Nothing is written.
        """
        # Pandas and the contract are slow to import, and listing versions needs neither.
        from insurance_claims.data.content import content_sha256, write_version
        from insurance_claims.data.load import read_table
        from insurance_claims.data.validate import check

        log(f"reading {file}")
        table = read_table(file)
        log(f"checking {len(table):,} rows against the data contract")
        table = check(table)
        sha256 = content_sha256(table)
        with self._state.lock(f"data-{name}"):
            known = self.list(name)
            for version in known:
                if version.sha256 == sha256:
                    return version, False
            number = known[0].version + 1 if known else 1
            with whole_folder(self._folder(name, number)) as folder:
                write_version(
                    table, folder, name=name, version=number, created=now(), source=file.name
                )
        return self.get(name, str(number)), True

    def get(self, name: str, version: str = "latest") -> DataVersion:
        """A version by number, or the newest.

        Raises:
            PlatformError: there is none.
        """
        known = self.list(name)
        if not known:
            others = sorted({item.name for item in self.list()})
            hint = f"known: {', '.join(others)}" if others else "none was added yet"
            raise PlatformError(
                f"there is no data set {name!r} ({hint}): add a file with `mlops data add FILE --name {name}`"
            )
        if version == "latest":
            return known[0]
        for item in known:
            if str(item.version) == version:
                return item
        numbers = ", ".join(str(item.version) for item in known)
        raise PlatformError(f"data set {name} has no version {version!r}; it has: {numbers}")

    def list(self, name: str | None = None) -> Sequence[DataVersion]:
        """All versions, newest first, of one data set or of all."""
        manifests = self._state.data.glob(f"{name or '*'}/[0-9]*/manifest.json")
        found = []
        for path in manifests:
            manifest = read_json(path)
            found.append(DataVersion(**{field: manifest[field] for field in _FIELDS}))
        return sorted(found, key=lambda item: (item.name, -item.version))

    def fetch(self, version: DataVersion) -> Path:
        """The folder that holds the version: ``data.parquet`` and ``manifest.json``."""
        return self._folder(version.name, version.version)

    def _folder(self, name: str, version: int) -> Path:
        return self._state.data / name / str(version)
