"""The inputs of a batch: found, told apart by their content, and fingerprinted so that a change is noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.local_files import find_files
from insurance_claims.scoring.batch.sources import ENDINGS, Source

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"


class Format(StrEnum):
    """What a file is, by its first bytes."""

    CSV = "csv"
    GZIP = "csv.gz"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Input:
    """A file or a blob to score, as it was when it was found.

    Attributes:
        source: where it is.
        format: of its content.
        size: bytes.
        identity: what else tells its content from another, as JSON.
        state: to notice a change while it is read.
    """

    source: Source
    format: Format
    size: int
    identity: Mapping[str, Any]
    state: object

    @property
    def name(self) -> str:
        """Absolute path or address."""
        return self.source.name

    def to_json(self) -> dict[str, Any]:
        """What stays the same for as long as the content does."""
        return {
            "path": self.name,
            "format": str(self.format),
            "size": self.size,
            **self.identity,
        }

    def refuse_changes(self) -> None:
        """Make sure that the content is still what was found.

        Raises:
            DataError: it was changed, replaced or removed.
        """
        if self.source.state() != self.state:
            raise DataError(
                f"{self.name} was changed while it was read: nothing of the rows being read is kept. "
                "Wait until it is complete, then score it into another output folder"
            )


def find_inputs(given: Sequence[str], output: Path) -> list[Source]:
    """The files and blobs that names, folders, patterns and addresses stand for.

    Args:
        given: files, folders (all files below them that end in ENDINGS; names that begin with a dot or an underscore
            are left out) or patterns with ``*``, ``?`` and ``**``; or addresses of blobs, as ``find_blobs`` has them.
        output: where the scores go: it must not lie among the inputs.

    Returns:
        Each once: in the order given, and by name within a folder or a pattern.

    Raises:
        DataError: something does not exist, stands for no file, or holds the output folder.
    """
    found: dict[Source, None] = {}
    for name in given:
        sources = list(_sources(name, output))
        if not sources:
            raise DataError(f"{name} holds no file that ends in {', '.join(ENDINGS)}")
        found.update(dict.fromkeys(sources))
    return list(found)


def look_at(source: Source) -> Input:
    """Tell a source's format and take its fingerprint.

    Raises:
        DataError: it cannot be read, is no regular file, is empty, or is of another format.
    """
    seen = source.look()
    return Input(source, _format(source.name, seen.head), seen.size, seen.identity, seen.state)


def _sources(name: str, output: Path) -> Sequence[Source]:
    if "://" not in name:
        return list(find_files(name, output))
    # Only here: whoever scores files waits for nothing of Azure's.
    from insurance_claims.scoring.batch.blobs import find_blobs

    return list(find_blobs(name))


def _format(name: str, head: bytes) -> Format:
    if head[:4] == _PARQUET:
        return Format.PARQUET
    if head[:2] == _GZIP:
        return Format.GZIP
    if head[:4] == _ZIP:
        raise DataError(f"{name} is a zip archive or a workbook: unpack it or save it as CSV first")
    for ending, kind in ((".parquet", "Parquet"), (".gz", "gzip")):
        if name.lower().endswith(ending):
            raise DataError(
                f"{name} is not {kind}, though its name says so: it begins with {head[:20]!r}"
            )
    return Format.CSV
