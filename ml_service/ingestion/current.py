"""Which version of a data set holds all that has arrived.

Mostly the newest one. Where corrections are taken back the data are again what they were, and that is an earlier
version: the same content never is a second one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from ml_service.ingestion.ledger import FOLDER
from ml_service.platforms.base import DataVersion, Documents, Platform, PlatformError


@dataclass(frozen=True, slots=True)
class Current:
    """What ingestion made last.

    Attributes:
        version: that holds all that has arrived.
        newest: the highest number that there was then.
    """

    version: int
    newest: int


_CURRENT = TypeAdapter(Current)


def read_current(documents: Documents, data: str) -> Current | None:
    """What ingestion made last of a data set; None where it made nothing yet.

    Raises:
        PlatformError: the document is damaged.
    """
    name = _name(data)
    content = documents.read(name)
    if content is None:
        return None
    try:
        return _CURRENT.validate_json(content)
    except ValidationError:
        raise PlatformError(
            f"document {name} is damaged: remove it, and the newest version is built upon"
        ) from None


def write_current(platform: Platform, version: DataVersion) -> None:
    """Say that a version holds all that has arrived."""
    newest = max(item.version for item in platform.data.list(version.name))
    content = _CURRENT.dump_json(Current(version.version, newest))
    platform.documents.write(_name(version.name), content)


def base_version(platform: Platform, data: str) -> DataVersion | None:
    """The version to build upon; None where there is none. One that was added by hand since comes first."""
    known = platform.data.list(data)
    if not known:
        return None
    current = read_current(platform.documents, data)
    if current is None or current.newest != known[0].version:
        return known[0]
    return next((item for item in known if item.version == current.version), known[0])


def _name(data: str) -> str:
    return f"{FOLDER}/current-{data}.json"
