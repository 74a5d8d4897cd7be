"""Watching a landing: files that have stopped changing become events, and events are handled as Event Grid's are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from insurance_claims.errors import ClaimsError
from ml_service.ingestion.events import blob_created, named_files
from ml_service.ingestion.ingestor import Ingestor
from ml_service.ingestion.landing import Arrival, LandingRefusedError
from ml_service.ingestion.ledger import Record
from ml_service.ingestion.options import Pace
from ml_service.ingestion.training import Trigger
from ml_service.platforms.base import Log, PipelineRun, PlatformError

_LONGEST_PAUSE = 60.0
_HELD_SECONDS = 90.0
"""After which a lease is no leftover of a watcher that died."""


class Stability:
    """Which files have stopped changing. Measured by a clock that nobody sets.

    Args:
        settle: seconds without a change.
        clock: seconds, of any beginning.
    """

    def __init__(self, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle = settle
        self._clock = clock
        self._since: dict[tuple[str, str], float] = {}

    def settled(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Those of the files in the landing that may be read."""
        now = self._clock()
        states = {(file.name, file.etag): now for file in arrivals}
        self._since = {state: self._since.get(state, now) for state in states}
        return [
            file
            for file in arrivals
            if file.whole or now - self._since[file.name, file.etag] >= self._settle
        ]


class Watcher:
    """Looks at a landing again and again.

    Args:
        ingestor: takes files in.
        trigger: invokes training; None: nobody does.
        pace: how often.
        log: takes lines on progress.
        clock: seconds, of any beginning.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        ingestor: Ingestor,
        trigger: Trigger | None,
        pace: Pace,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ingestor = ingestor
        self._trigger = trigger
        self._pace = pace
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._stability = Stability(pace.settle, clock)
        self._busy_since: float | None = None
        self._quiet_since = clock()

    def run(self) -> None:
        """Watch until interrupted.

        Raises:
            LandingRefusedError: trying again does not help.
            KeyboardInterrupt: the end.
        """
        troubles, said = 0, ""
        while True:
            try:
                self.look()
                if troubles:
                    self._log("all is well again")
                troubles, said = 0, ""
            except LandingRefusedError:
                raise
            except ClaimsError as error:
                # Storage and platform come back; whatever was under way is taken up again then.
                troubles += 1
                if str(error) != said:
                    said = str(error)
                    self._log(f"waiting: {said}")
            self._sleep(min(_LONGEST_PAUSE, self._pace.poll * 2 ** min(troubles, 10)))

    def look(self) -> tuple[list[Record], PipelineRun | None]:
        """Look once: take in what is whole, and train where it is quiet."""
        arrivals = self._ingestor.landing.list()
        book = self._ingestor.ledger.read()
        pending = self._ingestor.pending(arrivals, book)
        ready = self._stability.settled(pending)
        records: list[Record] = []
        if ready or self._ingestor.ledger.open_batch() is not None:
            address = self._ingestor.landing.address
            events = [blob_created(address, file) for file in ready]
            records = self._ingestor.handle(named_files(events, address))
        now = self._clock()
        if pending:
            self._quiet_since = now
            if self._busy_since is None:
                self._busy_since = now
        return records, self._train(now)

    def _train(self, now: float) -> PipelineRun | None:
        quiet = now - self._quiet_since >= self._pace.debounce
        tired = self._busy_since is not None and now - self._busy_since >= self._pace.patience
        if self._trigger is None or not (quiet or tired):
            return None
        self._busy_since = None
        return self._trigger.train()

    def drain(self) -> tuple[list[Record], PipelineRun | None]:
        """Take in all that is in the landing now, then train once.

        Raises:
            ClaimsError: something does not answer.
        """
        records: list[Record] = []
        idle = 0.0
        landing, ledger = self._ingestor.landing, self._ingestor.ledger
        while pending := self._ingestor.pending(landing.list(), ledger.read()):
            ready = self._stability.settled(pending)
            if len(ready) < len(pending):
                self._sleep(min(self._pace.poll, self._pace.settle))
                continue
            events = [blob_created(landing.address, file) for file in ready]
            ended = self._ingestor.handle(named_files(events, landing.address))
            records += ended
            idle = 0.0 if ended else idle + self._pace.poll
            if idle > _HELD_SECONDS:
                raise PlatformError(f"{ready[0].name} is held by somebody else: try again later")
            if not ended:
                self._sleep(self._pace.poll)
        if ledger.open_batch() is not None:
            records += self._ingestor.handle([])
        return records, self._trigger.train() if self._trigger is not None else None
