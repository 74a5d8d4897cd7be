"""Score a data version with a registered model: the step of batch_scoring.yml.

Writes the scores as Parquet files below scores/, rows that cannot be scored with their reasons below quarantine/, and
scores.json, which counts both.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from insurance_claims.dask_cluster import SCHEDULER
from insurance_claims.data.content import DATA_FILE
from insurance_claims.errors import DataError
from insurance_claims.files import whole_folder
from insurance_claims.parameters import load_parameters
from insurance_claims.scoring.batch.engines import ENGINES, choose_engine
from insurance_claims.scoring.batch.job import CHUNK_ROWS, MAX_BAD, Options
from insurance_claims.scoring.batch.progress import lines
from insurance_claims.scoring.batch.registered import load_registered
from insurance_claims.scoring.batch.run import Report, score_files
from insurance_claims.step import run_step, step_parser
from insurance_claims.tracking import tracker


def main(arguments: argparse.Namespace) -> None:
    """Run the step."""
    data = arguments.raw / DATA_FILE
    if not data.is_file():
        raise DataError(f"{arguments.raw} is not a data version: it holds no {DATA_FILE}")
    engine = choose_engine(arguments.engine, arguments.scheduler, arguments.threads)
    options = Options(
        headroom=load_parameters(arguments.parameters).scoring.headroom,
        chunk_rows=arguments.chunk_rows,
        threads=arguments.threads,
        max_bad=arguments.max_bad,
    )
    model = load_registered(arguments.model_name, arguments.model_version)
    print(f"scoring with version {model.version} of {model.name}", flush=True)
    # A step's output appears whole or not at all: here nothing is gone on with.
    with whole_folder(arguments.output) as aside:
        report = score_files([str(data)], aside, model, options, lines(_say), engine)
        _say(report.describe())
        _log(report)
        if report.too_many_bad:
            raise DataError(
                f"{report.quarantined:,} of {report.rows:,} rows cannot be scored, more than the share of "
                f"{report.max_bad:g} that is allowed: mend the data, or raise --max-bad"
            )


def _say(line: str) -> None:
    print(line, flush=True)


def _log(report: Report) -> None:
    with tracker() as log:
        log.log_params({f"model_{key}": value for key, value in report.model.items()})
        log.log_metrics({"rows_scored": report.scored, "rows_quarantined": report.quarantined})


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    parser = step_parser("insurance_claims.scoring.batch.score_data", __doc__)
    parser.add_argument(
        "--raw",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder of a data version: {DATA_FILE}",
    )
    parser.add_argument("--model-name", required=True, metavar="NAME", help="in the registry")
    parser.add_argument(
        "--model-version",
        default="champion",
        metavar="N",
        help="a number, champion or latest (default: champion)",
    )
    parser.add_argument(
        "--max-bad",
        type=_share,
        default=MAX_BAD,
        metavar="SHARE",
        help="fail where a larger share of the rows cannot be scored (default: %(default)s)",
    )
    parser.add_argument(
        "--chunk-rows",
        type=_positive,
        default=CHUNK_ROWS,
        metavar="ROWS",
        help="of a part of the output (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="that predict; with --engine dask, workers (default: one a processor)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="local, in this process, or dask, on a cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"of a running Dask scheduler (default: {SCHEDULER}, else processes on this machine)",
    )
    return parser


if __name__ == "__main__":
    run_step(_parser(), main)
