"""Turn a data version into a dataset: training, validation and holdout rows.

Reads a version's folder, checks its content against the contract once more, and writes train.parquet,
validation.parquet, holdout.parquet and manifest.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from insurance_claims.data.content import MANIFEST_FILE, read_version, write_parquet
from insurance_claims.data.split import claims_of, periods_of, split_table
from insurance_claims.data.validate import check
from insurance_claims.files import whole_folder, write_json
from insurance_claims.parameters import SplitParameters, load_parameters
from insurance_claims.step import run_step, step_parser
from insurance_claims.tracking import tracker


def write_dataset(
    parts: dict[str, pd.DataFrame], version: dict[str, Any], split: SplitParameters, folder: Path
) -> dict[str, Any]:
    """Write a dataset folder, whole or not at all.

    Args:
        parts: rows of train, validation and holdout.
        version: the manifest of the data version that they came from.
        split: how they were split.
        folder: to make.

    Returns:
        The dataset's manifest.

    Raises:
        ClaimsError: the folder exists and is not empty.
    """
    manifest = {
        "data": {key: version[key] for key in ("name", "version", "sha256", "rows", "claim_rate")},
        "schema_version": version["schema_version"],
        "split": split.model_dump(),
        "rows": {name: len(part) for name, part in parts.items()},
        "claims": claims_of(parts),
        **periods_of(parts),
    }
    with whole_folder(folder) as aside:
        for name, part in parts.items():
            write_parquet(part, aside / f"{name}.parquet")
        write_json(aside / MANIFEST_FILE, manifest)
    return manifest


def main(arguments: argparse.Namespace) -> None:
    """Run the step."""
    split = load_parameters(arguments.parameters).split
    table, version = read_version(arguments.raw)
    print(f"data {version['name']} version {version['version']}: {len(table):,} rows", flush=True)
    table = check(table)
    print("the data keeps its contract", flush=True)
    manifest = write_dataset(split_table(table, split), version, split, arguments.output)
    for name, rows in manifest["rows"].items():
        claims = manifest["claims"][name]
        print(f"{name}: {rows:,} rows, {claims:,} claims ({claims / rows:.2%})", flush=True)
    with tracker() as log:
        log.log_params(
            {f"data_{key}": manifest["data"][key] for key in ("name", "version", "sha256")}
        )
        log.log_metrics({f"rows_{name}": rows for name, rows in manifest["rows"].items()})
        log.log_metrics({f"claims_{name}": claims for name, claims in manifest["claims"].items()})


def _parser() -> argparse.ArgumentParser:
    parser = step_parser("insurance_claims.data.prepare", __doc__)
    parser.add_argument(
        "--raw",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of a data version: data.parquet and manifest.json",
    )
    return parser


if __name__ == "__main__":
    run_step(_parser(), main)
