"""How ingestion behaves: limits, and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """How ingestion behaves.

    Attributes:
        max_bad: with a larger share of bad rows, nothing of a file is taken.
        max_files: of a batch. After a failure fewer are tried together, in the end each alone.
        tries: after so many failures a file is dead.
        wait: before the second try; each further one waits twice as long.
        remove: whether files are removed from the landing once their outcome is written.
        engine: that processes a batch: ``local`` or ``dask``.
    """

    max_bad: float = 0.05
    max_files: int = 1000
    tries: int = 5
    wait: timedelta = timedelta(seconds=30)
    remove: bool = False
    engine: str = "local"

    @property
    def longest_wait(self) -> timedelta:
        """That any file is put off."""
        return self.wait * (1 << self.tries)


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a watcher, in seconds.

    Attributes:
        poll: between two looks at the landing.
        settle: that a file stays as it is before it counts as whole, where the storage does not promise that.
        debounce: of quiet before training is invoked.
        patience: after which it is invoked though files still arrive.
    """

    poll: float = 2.0
    settle: float = 5.0
    debounce: float = 10.0
    patience: float = 600.0
