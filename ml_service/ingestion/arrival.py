"""Does data that arrive get anywhere: a small file is dropped, and its outcome in the ledger waited for.

Whoever watches the landing takes the file in, as any other: this only drops it and looks.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from insurance_claims import schema
from insurance_claims.data.synthesize import synthesize
from ml_service.ingestion.landing import Landing, landing_key
from ml_service.ingestion.ledger import Entry, Ledger, Record, Status, utc_now
from ml_service.platforms.base import Documents, PlatformError

FOLDER = "check-arrival"
"""Of the landing: holds the files of all checks."""
FIRST_ID = 9_000_000_000_000
"""Of a check's rows, which are nobody's: each check replaces those of the one before."""

_ROWS = 20
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of a file.

    Attributes:
        entry: its outcome.
        record: of the batch that it was in.
        seconds: from the drop to the outcome.
    """

    entry: Entry
    record: Record
    seconds: float


def check_file(rows: bool) -> tuple[str, bytes]:
    """Name and content of a file that nobody dropped before.

    Args:
        rows: whether it holds any. A file without must be refused, and nothing of it reaches the data.
    """
    token = secrets.token_hex(4)
    table = synthesize(_ROWS, int(token, 16))[0]
    table[schema.ID] = FIRST_ID + np.arange(_ROWS)
    # Alone, too, they are data to train on: both kinds are there.
    table[schema.TARGET] = np.arange(_ROWS) % 2
    content = table.to_csv(index=False) if rows else ",".join(schema.COLUMNS) + "\n"
    return f"{FOLDER}/{utc_now():%Y%m%dt%H%M%S}-{token}.csv", content.encode()


def drop(landing: Landing, name: str, content: bytes) -> None:
    """Put a file into a landing; it appears whole.

    Raises:
        PlatformError: that is not possible.
    """
    landing.write_control(name, content)


def wait_for_outcome(
    documents: Documents,
    landing: Landing,
    name: str,
    timeout: float,
    alive: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Arrived:
    """Wait until the ledger says what became of a file. One that failed and is tried again is waited for.

    Args:
        documents: of the platform.
        landing: that the file was dropped into.
        name: of the file there.
        timeout: seconds.
        alive: called at every look; may raise where waiting has become pointless.
        clock: seconds, of any beginning.
        sleep: waits so many seconds.

    Raises:
        PlatformError: there is no outcome in time.
    """
    ledger, began = Ledger(documents, landing_key(landing.address)), clock()
    while True:
        found = _newest(ledger, name)
        waited = clock() - began
        if found is not None and found[1].final:
            return Arrived(found[1], found[0], waited)
        if waited >= timeout:
            said = "" if found is None else f"; it {found[1].status}: {found[1].reason}"
            raise PlatformError(
                f"{name} has no outcome after {timeout:g} s{said}. Does anybody watch {landing.address}, with the same "
                "platform as this command (`mlops ingest watch`, or the trigger in Azure)? The file stays there"
            )
        alive()
        sleep(_POLL_SECONDS)


def expected(rows: bool) -> Status:
    """What has to become of a check's file."""
    return Status.ACCEPTED if rows else Status.QUARANTINED


def _newest(ledger: Ledger, name: str) -> tuple[Record, Entry] | None:
    for record in reversed(ledger.read().records):
        for entry in record.files:
            if entry.name == name:
                return record, entry
    return None
