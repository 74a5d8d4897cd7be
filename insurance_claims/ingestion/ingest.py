"""Process a batch of files that were dropped, in a notebook: the step of ingestion.yml.

Writes good rows as Parquet files below curated/arrival=DAY/, the others with their reasons below quarantine/,
report.json with the outcome of each file, and notebook.ipynb: the notebook as it was executed.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from insurance_claims.errors import ClaimsError, DataError
from insurance_claims.files import whole_folder
from insurance_claims.ingestion.batch import NOTEBOOK_FILE, read_report
from insurance_claims.ingestion.engines import ENGINES
from insurance_claims.step import run_step, step_parser
from insurance_claims.tracking import tracker

NOTEBOOK = Path(__file__).with_name("ingest.ipynb")
"""A link to notebooks/ingest.ipynb: what is shipped to a compute node is the package alone."""

_EXPECTED = ("ClaimsError", "ClusterError", "DataError", "StorageError")
"""Errors whose message says all: a traceback would bury it."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main(arguments: argparse.Namespace) -> None:
    """Run the step."""
    with whole_folder(arguments.output) as aside:
        parameters = {
            "landing": arguments.landing,
            "batch": arguments.batch,
            "output": str(aside),
            "max_bad": arguments.max_bad,
            "engine": arguments.engine,
        }
        run_notebook(parameters, aside / NOTEBOOK_FILE)
        results = read_report(aside)
        _log(aside, [result.outcome for result in results if result.outcome])


def run_notebook(parameters: dict[str, Any], executed: Path) -> None:
    """Execute the notebook in a kernel of this Python, and keep the executed copy.

    Raises:
        ClaimsError: papermill is missing.
        DataError: a cell failed. Its traceback is printed, where the message does not say all.
    """
    try:
        import papermill
        from papermill.exceptions import PapermillExecutionError
        from traitlets.config import Config
    except ImportError:
        raise ClaimsError(
            "notebooks run by papermill, which is not installed: pip install 'insurance-claims[notebooks]'"
        ) from None

    # Sockets in a folder of our own: over TCP every user of the machine could listen.
    transport = Config({"KernelManager": {"transport": "ipc"}})
    logging.getLogger("papermill").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        # Neither the history nor the sockets of a person's own notebooks are touched.
        os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = scratch
        try:
            papermill.execute_notebook(
                str(NOTEBOOK),
                str(executed),
                parameters,
                progress_bar=False,
                stdout_file=sys.stdout,
                cwd=scratch,
                config=transport,
            )
        except PapermillExecutionError as error:
            if error.ename in _EXPECTED:
                raise DataError(error.evalue) from None
            print(_COLOUR.sub("", "\n".join(error.traceback)), flush=True)
            raise DataError(f"the notebook failed: {error.ename}: {error.evalue}") from None


def _log(output: Path, outcomes: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as scratch, tracker() as log:
        (Path(scratch) / NOTEBOOK_FILE).write_bytes((output / NOTEBOOK_FILE).read_bytes())
        log.log_files(Path(scratch), "evidence")
        log.log_metrics(
            {
                "files_accepted": sum(outcome.part is not None for outcome in outcomes),
                "files_quarantined": sum(outcome.part is None for outcome in outcomes),
                "rows_read": sum(outcome.rows for outcome in outcomes),
                "rows_bad": sum(outcome.bad for outcome in outcomes),
            }
        )


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise ValueError
    return share


def _parser() -> argparse.ArgumentParser:
    parser = step_parser("insurance_claims.ingestion.ingest", __doc__)
    parser.add_argument(
        "--landing",
        required=True,
        metavar="FOLDER|URL",
        help="where files are dropped: a folder, or the address of a container",
    )
    parser.add_argument(
        "--batch", required=True, metavar="ID", help="of the files that were claimed"
    )
    parser.add_argument(
        "--max-bad",
        type=_share,
        required=True,
        metavar="SHARE",
        help="with a larger share of bad rows, nothing of a file is taken",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="local, in this process, or dask, on a cluster (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    run_step(_parser(), main)
