"""``mlops labels``: which scored rows had a claim, as it becomes known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_service.cli.context import JsonOption, PlatformOption, open_platform, print_json

app = typer.Typer(help="What became of scored rows.", no_args_is_help=True)


@app.callback()
def labels() -> None:
    """What became of scored rows."""


@app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV or Parquet: request_id, row (from 0) and target, or row_id (REQUEST_ID:ROW) and target.",
        ),
    ],
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Keep labels beside the rows that MLOPS_COLLECT collects. Added twice they count once."""
    from ml_service.feedback.labels import add_labels
    from ml_service.feedback.rows import collected_place

    report = add_labels(collected_place(), open_platform(platform).documents, file)
    if json:
        print_json(report)
    else:
        print(report.describe())
