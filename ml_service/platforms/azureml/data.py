"""Data versions as Azure ML datasets: files on a datastore, facts in tags."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from insurance_claims.files import read_json, whole_folder, write_json
from insurance_claims.registry import now
from ml_service.platforms.azureml.blobs import Blobs
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import DataVersion, Log, PlatformError

_DATA_FILE = "data.parquet"
_MANIFEST_FILE = "manifest.json"
_FACTS = ("sha256", "rows", "claim_rate", "created", "source")
_TAGS = (*_FACTS, "datastore", "path")
_LOOK_UPS_AT_ONCE = 8


class AzureData:
    """Versions of data sets, registered in the workspace as file datasets of the same names and numbers.

    A version's files are at ``datasets/NAME/SHA256/`` on the datastore: they are written before the version is
    registered, so that one that is seen is whole, and an upload that was cut is simply done again.
    """

    def __init__(self, ws: AzureWorkspace) -> None:
        self._ws = ws

    def add(self, name: str, file: Path, log: Log) -> tuple[DataVersion, bool]:
        """Validate a file and make a version of it; say whether it is new.

        Raises:
            DataError: the file does not keep the contract. Nothing is uploaded.
            PlatformError: Azure fails, or the name belongs to a dataset that is not a data version.
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
        latest = self._latest(name)
        known = self._versions(name, latest)
        last = latest.version if latest else 0
        if found := _with_content(known, sha256):
            self._number_manifest(found)
            return found, False
        if last and not known:
            raise PlatformError(
                f"the workspace has a dataset {name} that is not a data version of this project (its newest version "
                "lacks tags such as sha256): choose another name with --name or DATASET_NAME"
            )
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            manifest = write_version(
                table, folder, name=name, version=last + 1, created=now(), source=file.name
            )
            path = f"datasets/{name}/{sha256}/"
            self._upload(folder, path, log)
        return self._register(name, path, manifest, log)

    def get(self, name: str, version: str = "latest") -> DataVersion:
        """A version by number, or the newest.

        Raises:
            PlatformError: there is none.
        """
        latest = self._latest(name)
        if latest is not None and _is_ours(latest.tags):
            found = self._found(name, latest, version)
            if found is not None:
                return found
        known = self.list(name)
        if not known:
            others = sorted({item.name for item in self.list()})
            hint = f"known: {', '.join(others)}" if others else "none was added yet"
            raise PlatformError(
                f"workspace {self._ws.azure.workspace_name} has no data set {name!r} ({hint}): "
                f"add a file with `mlops data add FILE --name {name}`"
            )
        numbers = ", ".join(str(item.version) for item in known)
        raise PlatformError(f"data set {name} has no version {version!r}; it has: {numbers}")

    def list(self, name: str | None = None) -> Sequence[DataVersion]:
        """All versions, newest first, of one data set or of all. Datasets that are not ours are left out."""
        if name is not None:
            return self._versions(name, self._latest(name))
        latest = sorted(self._registrations(), key=lambda item: str(item.name))
        return [version for item in latest for version in self._versions(item.name, item)]

    def fetch(self, version: DataVersion) -> Path:
        """A local copy of the version: ``data.parquet`` and ``manifest.json``, complete and checked. Read only.

        Raises:
            PlatformError: the files are missing or Azure fails.
            DataError: they are not what was registered.
        """
        target = self._ws.cache / "data" / version.name / str(version.version) / version.sha256
        with self._ws.lock(f"data-{version.name}-{version.version}"):
            if not target.is_dir():
                self._fetch(version, target)
        return target

    def _fetch(self, version: DataVersion, target: Path) -> None:
        from insurance_claims.data.content import read_version
        from insurance_claims.errors import DataError

        blobs, path = self._place(version)
        with whole_folder(target) as folder:
            with translated(f"downloading data version {version.name}:{version.version}"):
                for name in (_DATA_FILE, _MANIFEST_FILE):
                    blobs.download(path + name, folder / name)
            manifest = read_json(folder / _MANIFEST_FILE)
            write_json(folder / _MANIFEST_FILE, {**manifest, "version": version.version})
            _, manifest = read_version(folder)
            if manifest["sha256"] != version.sha256:
                raise DataError(
                    f"{path} on datastore {blobs.datastore} holds another content than data version "
                    f"{version.name}:{version.version} was registered with: add the data again under another name"
                )

    def dataset(self, version: DataVersion) -> Any:
        """The SDK's ``FileDataset`` of a version, as an input of pipelines."""
        return self._dataset(version.name, version.version)

    def _place(self, version: DataVersion) -> tuple[Blobs, str]:
        """Where a version's files are: DATASTORE_NAME may have changed since."""
        tags = self._tags(version.name, version.version)
        name = str(tags["datastore"])
        blobs = self._ws.once(f"blobs:{name}", lambda: Blobs(self._ws.datastore_named(name)))
        return blobs, str(tags["path"])

    def _upload(self, folder: Path, path: str, log: Log) -> None:
        blobs = Blobs(self._ws.datastore)
        log(f"uploading to {path} on datastore {blobs.datastore}")
        with translated("uploading the data"):
            for name in (_DATA_FILE, _MANIFEST_FILE):
                blobs.upload(folder / name, path + name, log)

    def _register(
        self, name: str, path: str, manifest: dict[str, Any], log: Log
    ) -> tuple[DataVersion, bool]:
        """Make the files a version. Another build may do the same at this moment: the first one counts."""
        from azureml.core import Dataset

        tags = {key: _tag(manifest[key]) for key in _FACTS}
        tags |= {"datastore": str(self._ws.datastore.name), "path": path}
        with translated(f"registering data set {name}"):
            files = Dataset.File.from_files((self._ws.datastore, path), validate=False)
            registered = files.register(
                self._ws.workspace,
                name,
                description=f"{manifest['rows']:,} rows of {manifest['source']}",
                tags=tags,
                create_new_version=True,
            )
        log(f"registered data set {name} version {registered.version}")
        if registered.version == manifest["version"]:
            made = _version(name, registered.version, registered.tags)
            return made, True
        first = _with_content(self.list(name), manifest["sha256"])
        assert first is not None, "it was registered a moment ago"
        self._number_manifest(first)
        return first, first.version == registered.version

    def _number_manifest(self, version: DataVersion) -> None:
        """Let the uploaded manifest say the number that the version was registered under."""
        blobs, path = self._place(version)
        with translated(f"checking the manifest of data version {version.name}:{version.version}"):
            manifest = json.loads(blobs.read(path + _MANIFEST_FILE))
            if manifest["version"] == version.version:
                return
            with TemporaryDirectory() as scratch:
                file = Path(scratch) / _MANIFEST_FILE
                write_json(file, {**manifest, "version": version.version})
                blobs.upload(file, path + _MANIFEST_FILE)

    def _versions(self, name: str, latest: Any) -> Sequence[DataVersion]:
        """A data set's versions, newest first, each content once. What was registered by others is left out."""
        if latest is None or not _is_ours(latest.tags):
            return []
        tags = {latest.version: latest.tags}
        with ThreadPoolExecutor(_LOOK_UPS_AT_ONCE) as pool:
            older = range(1, latest.version)
            tags.update(zip(older, pool.map(lambda number: self._tags(name, number), older)))
        by_content: dict[str, DataVersion] = {}
        for number in sorted(tags):
            if _is_ours(tags[number]):
                made = _version(name, number, tags[number])
                by_content.setdefault(made.sha256, made)
        return sorted(by_content.values(), key=lambda item: -item.version)

    def _found(self, name: str, latest: Any, version: str) -> DataVersion | None:
        """A version without asking for all of them."""
        if version != "latest":
            number = int(version) if version.isdecimal() else 0
            tags = self._tags(name, number) if 1 <= number <= latest.version else None
            return _version(name, number, tags) if _is_ours(tags) else None
        number, tags = latest.version, latest.tags
        while number > 1:
            # Two builds that add the same content at once get a number each: the first one counts.
            before = self._tags(name, number - 1)
            if not _is_ours(before) or before["sha256"] != tags["sha256"]:
                break
            number, tags = number - 1, before
        return _version(name, number, tags)

    def _latest(self, name: str) -> Any:
        """The SDK's dataset of the newest version of this name; None where there is none."""
        from azureml.core import Dataset
        from azureml.exceptions import UserErrorException

        workspace = self._ws.workspace
        with translated(f"looking up data set {name}"):
            try:
                return Dataset.get_by_name(workspace, name)
            except UserErrorException as error:
                if "Cannot find dataset" not in error.message:
                    raise
                return None

    def _registrations(self) -> Sequence[Any]:
        """The latest version of every dataset of the workspace."""
        from azureml.core import Dataset

        workspace = self._ws.workspace
        with translated("listing the datasets of the workspace"):
            # One call; iterating over the mapping itself asks for each dataset, and after len() for none.
            found: list[Any] = Dataset.get_all(workspace).registrations
            return found

    def _tags(self, name: str, number: int) -> Any:
        return self._dataset(name, number).tags

    def _dataset(self, name: str, number: int) -> Any:
        from azureml.core import Dataset

        def look_up() -> Any:
            workspace = self._ws.workspace
            with translated(f"looking up data version {name}:{number}"):
                return Dataset.get_by_name(workspace, name, number)

        # Versions never change: each is asked for once.
        return self._ws.once(f"dataset:{name}:{number}", look_up)


def _with_content(versions: Sequence[DataVersion], sha256: str) -> DataVersion | None:
    return next((item for item in versions if item.sha256 == sha256), None)


def _is_ours(tags: Any) -> bool:
    return bool(tags) and all(key in tags for key in _TAGS)


def _tag(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _version(name: str, number: int, tags: Any) -> DataVersion:
    readers: dict[str, Callable[[str], Any]] = {"rows": int, "claim_rate": float}
    try:
        facts = {key: readers.get(key, str)(tags[key]) for key in _FACTS}
    except ValueError as error:
        raise PlatformError(
            f"the tags of dataset {name}:{number} were changed and cannot be read ({error}): restore them in Azure ML "
            "studio"
        ) from None
    return DataVersion(name=name, version=number, **facts)
