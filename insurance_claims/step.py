"""The thin shell around every step: arguments in, one clear reason out."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.step_report import reported
from insurance_claims.parameters import PARAMETERS_FILE


def step_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser for a step's command line, with the options that every step has.

    Args:
        module: the step's module, as it is started: ``insurance_claims.training.train``.
        description: what the step does; the module's docstring.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--parameters",
        type=Path,
        default=PARAMETERS_FILE,
        metavar="FILE",
        help="hyper-parameters, split and limits (default: the package's parameters.yml)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to write, which must not exist",
    )
    return parser


def run_step(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> None:
    """Parse the command line, run ``main`` and exit: 0 when done, 1 with one reason on the last line of stderr."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)
    # Not ours to tell: they would bury what the step says.
    for noisy in ("mlflow", "alembic", "azure", "azureml", "msrest", "urllib3", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    arguments = parser.parse_args()
    step = parser.prog.rpartition(" ")[2]
    try:
        with reported(step, arguments.output):
            main(arguments)
    except ClaimsError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except OSError as error:
        # A full disk or a missing right: the person can act on it, the traceback would hide it.
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
