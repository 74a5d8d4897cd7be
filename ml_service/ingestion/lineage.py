"""From a model to the files that it was made of, and from a file to the models that know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_service.ingestion.ledger import Status, ledgers
from ml_service.platforms.base import DataVersion, Platform, PlatformError

SOURCE_PREFIX = "ingestion-"
"""Begins the ``source`` of a data version that a batch made; the batch's id follows."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A file that was accepted into a data version.

    Attributes:
        name: below the landing.
        landing: address of it.
        sha256: of the file's bytes.
        rows: that were taken.
        data_version: the first one that holds them.
        batch: that it was part of.
        run: of the ingestion pipeline, whose output holds the executed notebook.
        time: of the outcome, UTC, ISO 8601.
    """

    name: str
    landing: str
    sha256: str
    rows: int
    data_version: int
    batch: str
    run: str | None
    time: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """Files, the data versions that hold their rows, and the models trained on these.

    Attributes:
        files: oldest first. A row that arrived again is only held as it was in the newest of them.
        versions: oldest first.
        models: versions of the registered model, oldest first, each with its data version.
    """

    files: tuple[Contribution, ...]
    versions: tuple[DataVersion, ...]
    models: tuple[tuple[int, int], ...]


def of_model(platform: Platform, number: int) -> Lineage:
    """What a model was made of.

    Args:
        platform: that it is registered on.
        number: of its version.

    Raises:
        ClaimsError: there is no such model or data version.
    """
    tags = platform.models.get(number).tags
    try:
        name, version = tags["data_name"], int(tags["data_version"])
    except (KeyError, ValueError):
        raise PlatformError(
            f"model version {number} does not say which data it was trained on"
        ) from None
    found = of_data(platform, name, str(version))
    return Lineage(found.files, found.versions, ((number, version),))


def of_data(platform: Platform, name: str, version: str) -> Lineage:
    """What a data version was made of, and the models trained on just it.

    Raises:
        ClaimsError: there is no such version.
    """
    newest = platform.data.get(name, version)
    versions = _before(platform.data.list(name), newest)
    numbers = {item.version for item in versions}
    files = [item for item in _contributions(platform, name) if item.data_version in numbers]
    return Lineage(tuple(files), versions, _models(platform, name, {newest.version}))


def of_file(platform: Platform, name: str, file: str) -> Lineage:
    """Where a file's rows went: data versions, and the models trained on one of these.

    Args:
        platform: that took it in.
        name: of the data set.
        file: name below the landing, or the beginning of its SHA-256.

    Raises:
        PlatformError: it was never accepted into this data set.
    """
    files = [
        item
        for item in _contributions(platform, name)
        if item.name == file or (len(file) >= 8 and item.sha256.startswith(file))
    ]
    if not files:
        raise PlatformError(f"no file {file!r} was accepted into {name}: see `mlops ingest status`")
    known = platform.data.list(name)
    first = {item.data_version for item in files}
    versions = [
        item for item in reversed(known) if first & {v.version for v in _before(known, item)}
    ]
    return Lineage(
        tuple(files), tuple(versions), _models(platform, name, {v.version for v in versions})
    )


def _before(known: Sequence[DataVersion], newest: DataVersion) -> tuple[DataVersion, ...]:
    """A version and those that it was built upon, oldest first: the first one that came otherwise ends them."""
    found: list[DataVersion] = []
    for item in sorted(known, key=lambda version: -version.version):
        if item.version <= newest.version:
            found.append(item)
            if not item.source.startswith(SOURCE_PREFIX):
                break
    return tuple(reversed(found))


def _contributions(platform: Platform, name: str) -> list[Contribution]:
    found = [
        Contribution(
            entry.name,
            record.landing,
            entry.sha256 or "",
            entry.rows - entry.bad,
            record.data_version,
            record.batch,
            record.run,
            record.time.isoformat(timespec="seconds"),
        )
        for _, ledger in ledgers(platform.documents)
        for record in ledger.read().records
        if record.data_name == name and record.data_version is not None
        for entry in record.files
        if entry.status is Status.ACCEPTED
    ]
    return sorted(found, key=lambda item: (item.time, item.name))


def _models(platform: Platform, name: str, versions: set[int]) -> tuple[tuple[int, int], ...]:
    found = []
    for model in platform.models.list():
        number = model.tags.get("data_version", "")
        if model.tags.get("data_name") == name and number.isdigit() and int(number) in versions:
            found.append((model.version, int(number)))
    return tuple(sorted(found))
