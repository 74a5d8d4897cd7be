"""How far a batch is, for whoever watches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_EVERY = 5.0
"""Seconds between lines."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is.

    Attributes:
        rows: scored or put into quarantine, in this run and in those before it.
        quarantined: of these.
        done: share of the inputs' bytes, from 0 to 1.
        rows_per_second: of this run.
    """

    rows: int
    quarantined: int
    done: float
    rows_per_second: float

    def describe(self) -> str:
        """In one line."""
        bad = f", {self.quarantined:,} in quarantine" if self.quarantined else ""
        return f"{self.rows:,} rows ({self.done:.0%}), {self.rows_per_second:,.0f} rows/s{bad}"


Watch = Callable[[Progress], None]
"""Is told of every part."""


def lines(log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Watch:
    """A watch that logs a line every few seconds.

    Args:
        log: takes a line.
        clock: seconds.
    """
    said = clock()

    def watch(progress: Progress) -> None:
        nonlocal said
        if clock() - said >= _EVERY:
            said = clock()
            log(progress.describe())

    return watch
