"""``mlops data``: validate, add, list, synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    open_platform,
    print_json,
    print_table,
    progress,
)
from ml_service.settings import settings

app = typer.Typer(help="Data files and their versions.", no_args_is_help=True)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV in Kaggle's format or Parquet; gzip too.")
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Of the data set. Default: DATASET_NAME.")
]


@app.command()
def validate(file: FileArgument, json: JsonOption = False) -> None:
    """Check a file against the data contract and report every problem at once."""
    from insurance_claims.data.load import read_table
    from insurance_claims.data.validate import validate as check

    progress(f"reading {file}")
    report = check(read_table(file))
    if json:
        print_json({"file": str(file), "ok": report.ok, "report": report})
    else:
        print(report.describe())
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def add(
    file: FileArgument,
    name: NameOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Validate a file and make a version of it. The same content is the same version."""
    version, new = open_platform(platform).data.add(name or settings().dataset_name, file, progress)
    if json:
        print_json({"version": version, "new": new})
    else:
        what = "added" if new else "is there already, as"
        print(
            f"{file} {what} {version.name} version {version.version}: {version.rows:,} rows, "
            f"claim rate {version.claim_rate:.4f}, sha256 {version.sha256[:12]}"
        )


@app.command("list")
def list_versions(
    name: NameOption = None, platform: PlatformOption = None, json: JsonOption = False
) -> None:
    """Versions of data sets, newest first."""
    versions = open_platform(platform).data.list(name)
    if json:
        print_json({"versions": list(versions)})
    elif not versions:
        print("no data yet: add a file with `mlops data add FILE`")
    else:
        print_table(
            "",
            ["name", "version", "rows", "claim rate", "created", "source", "sha256"],
            [
                (
                    v.name,
                    v.version,
                    f"{v.rows:,}",
                    f"{v.claim_rate:.4f}",
                    v.created[:19],
                    v.source,
                    v.sha256[:12],
                )
                for v in versions
            ],
        )


@app.command()
def synthesize(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="To write: .csv, .csv.gz or .parquet.")
    ],
    rows: Annotated[int, typer.Option(help="Number of rows; the real data have 595212.")],
    seed: Annotated[int, typer.Option(help="Another seed is another sample of the same law.")] = 1,
    truth: Annotated[
        Path | None, typer.Option(help="Also write each row's true probability of a claim.")
    ] = None,
) -> None:
    """Make data with the real columns' ranges, missing shares, cardinalities and claim rate."""
    from insurance_claims.data.synthesize import write_synthetic

    write_synthetic(file, rows, seed, truth)
    print(
        f"wrote {rows:,} rows to {file}"
        + (f", their true probabilities to {truth}" if truth else "")
    )
