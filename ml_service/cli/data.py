"""``mlops data``: validate, add, list, lineage, synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    chosen_version,
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
def lineage(
    model: Annotated[
        str | None,
        typer.Option(metavar="N", help="What it was made of: a number, champion or latest."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="N", help="What this data version was made of.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="NAME|SHA256", help="Where this dropped file's rows went."),
    ] = None,
    name: NameOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """From a model or a data version back to the files, and from a file forward to the models."""
    from ml_service.ingestion.lineage import of_data, of_file, of_model

    if (model, version, file).count(None) != 2:
        raise typer.BadParameter("give one of --model, --version and --file")
    where = open_platform(platform)
    data = name or settings().dataset_name
    if model is not None:
        found = of_model(where, chosen_version(where, model))
    elif file is not None:
        found = of_file(where, data, file)
    else:
        found = of_data(where, data, version or "latest")
    if json:
        print_json(found)
        return
    print_table(
        "models",
        ["model", "data version"],
        [(f"version {number}", data_version) for number, data_version in found.models],
    )
    print_table(
        "data versions, the oldest first",
        ["version", "rows", "created", "source", "sha256"],
        [
            (v.version, f"{v.rows:,}", v.created[:19], v.source, v.sha256[:12])
            for v in found.versions
        ],
    )
    print_table(
        "files; the executed notebook of one: mlops ingest show FILE",
        ["file", "rows", "since version", "run", "landing", "sha256"],
        [
            (f.name, f"{f.rows:,}", f.data_version, (f.run or "")[:8], f.landing, f.sha256[:12])
            for f in found.files
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
    shift: Annotated[
        float, typer.Option(help="How far the population has moved, from 0 to 2: data that drift.")
    ] = 0.0,
) -> None:
    """Make data with the real columns' ranges, missing shares, cardinalities and claim rate."""
    from insurance_claims.data.synthesize import write_synthetic

    write_synthetic(file, rows, seed, truth, shift)
    print(
        f"wrote {rows:,} rows to {file}"
        + (f", their true probabilities to {truth}" if truth else "")
    )
