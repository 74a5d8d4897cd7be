"""`mlops monitor collected`: scored rows as time goes by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ml_service.cli.context import JsonOption, print_json
from ml_service.settings import settings

if TYPE_CHECKING:
    from insurance_claims.monitoring.upkeep import Upkeep


def collected(json: JsonOption = False) -> None:
    """Keep up what MLOPS_COLLECT collects: few files for a day that is over, none for days beyond MLOPS_COLLECTED_DAYS.

    `mlops monitor` does so once an hour. What servers that were killed left on this machine becomes files as well.
    """
    done = kept_up()
    if json:
        print_json(done)
    else:
        print(done.describe())


def kept_up() -> Upkeep:
    """Keep up collected rows once.

    Raises:
        CollectionError: nothing is collected, or files cannot be listed, written or removed.
    """
    from datetime import UTC, datetime
    from pathlib import Path

    from insurance_claims.monitoring.collection import SPOOL, Collecting
    from insurance_claims.monitoring.upkeep import keep_up
    from ml_service.feedback.rows import collected_place

    place, chosen = collected_place(), settings()
    spool = os.environ.get(SPOOL)
    collecting = Collecting(str(chosen.collect), spool=Path(spool) if spool else None)
    return keep_up(place, collecting.spool_folder, chosen.collected_days, datetime.now(UTC))
