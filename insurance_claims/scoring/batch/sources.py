"""Where the bytes of an input are, whether that is a file or a blob."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

ENDINGS = (".csv", ".csv.gz", ".parquet")
"""Of the files that are taken from a folder."""

HEAD = 1 << 20
"""Bytes at each end of a file that its fingerprint holds the hash of."""

_SIGNATURE = re.compile(r"sig=[^&\s']+")


@dataclass(frozen=True, slots=True)
class Look:
    """A source as it is at one moment.

    Attributes:
        head: its first bytes.
        size: bytes.
        identity: what of it goes into the plan, as JSON: stays the same for as long as the content does.
        state: what tells this moment's content from that of another moment, as cheaply as can be.
    """

    head: bytes
    size: int
    identity: Mapping[str, Any]
    state: object


class Source(Protocol):
    """A file or a blob. It can be sent to another process, and carries no secret there."""

    @property
    def name(self) -> str:
        """Absolute path or address."""

    @property
    def remote(self) -> bool:
        """Whether each read is a request over a network."""

    def look(self) -> Look:
        """Look at it.

        Raises:
            DataError: it cannot be read, is empty, or cannot hold data.
        """

    def state(self) -> object:
        """The ``state`` that ``look`` would find now.

        Raises:
            DataError: it is gone, or cannot be read.
        """

    def open(self) -> Any:
        """An Arrow file to read from.

        Raises:
            DataError: it is gone, or cannot be read.
        """


def is_data(parts: tuple[str, ...]) -> bool:
    """Whether a file in a folder is taken for data.

    Args:
        parts: of its path below the folder.
    """
    hidden = any(part.startswith((".", "_")) for part in parts)
    return not hidden and parts[-1].lower().endswith(ENDINGS)


def reason(error: Exception) -> str:
    """Why Arrow or the system could not read, in one line and without the signature that an address may hold."""
    said = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return _SIGNATURE.sub("sig=...", said.splitlines()[0])
