"""``mlops ingest check-arrival``: the smoke test of the way that data take."""

from __future__ import annotations

from typing import Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import JsonOption, PlatformOption, open_platform, print_json, progress
from ml_service.cli.ingest_options import LandingOption


def check_arrival(
    landing: LandingOption,
    rows: Annotated[
        bool,
        typer.Option(
            "--rows/--no-rows",
            help="Drop 20 synthetic rows, which have to become part of a data version; or column names alone, which "
            "have to be refused: nothing reaches the data then.",
        ),
    ] = True,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for the outcome.")
    ] = 900,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Drop a small file under a name of its own, and wait for what becomes of it. Exit code 1 where that is wrong.

    Somebody has to watch the landing: `mlops ingest watch`, or the trigger in Azure.
    """
    from ml_service.ingestion.arrival import check_file, drop, expected, wait_for_outcome
    from ml_service.ingestion.landing import open_landing

    where = open_platform(platform)
    place = open_landing(landing)
    name, content = check_file(rows)
    drop(place, name, content)
    progress(f"dropped {name} into {place.address}")
    seen = wait_for_outcome(where.documents, place, name, timeout)
    entry, record = seen.entry, seen.record
    if json:
        print_json(seen)
    else:
        version = f", {record.data_name} version {record.data_version}"
        held = version if record.data_version is not None and entry.part else ""
        said = f"; {entry.reason}" if entry.reason else ""
        print(f"{name}: {entry.status} after {seen.seconds:.0f} s{held}{said}")
    if entry.status is not expected(rows):
        raise ClaimsError(f"{name} had to be {expected(rows)} and is {entry.status}")
