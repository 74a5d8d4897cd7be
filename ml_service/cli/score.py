"""``mlops score``: any number of rows in this process, or one file over HTTP."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    chosen_version,
    deployed,
    open_platform,
    print_json,
    progress,
)

if TYPE_CHECKING:
    from insurance_claims.scoring.batch.progress import Watch
    from insurance_claims.scoring.batch.job import BatchModel
    from ml_service.platforms.base import Platform

_DEFAULT_ENVIRONMENT = "staging"


@dataclass(frozen=True, slots=True)
class _Work:
    """How to score into a folder, as the options say it."""

    engine: str
    scheduler: str | None
    threads: int | None
    max_bad: float | None

    def refuse_nonsense(self) -> None:
        """Refuse options that do not fit together."""
        from insurance_claims.scoring.batch.engines import ENGINES

        if self.engine not in ENGINES:
            raise typer.BadParameter(
                f"there is no engine {self.engine!r}; there is: {', '.join(ENGINES)}"
            )
        if self.scheduler is not None and self.engine != "dask":
            raise typer.BadParameter("--scheduler is for --engine dask")
        if self.scheduler is not None and self.threads is not None:
            raise typer.BadParameter("the workers of --scheduler are there: leave --threads out")


def score(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Rows to score: CSV, gzipped CSV or Parquet; a file, a folder, a quoted pattern, or the address of "
            "blobs: https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A folder: score in this process into Parquet files there, or go on with it. A name that ends in "
            ".csv, or nothing: score over HTTP into that file, or to the terminal.",
        ),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--env", metavar="ENV", help="Score over HTTP with this endpoint. Default: staging."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Into a folder: the model's version, a number, champion or latest. Default: champion.",
        ),
    ] = None,
    max_bad: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Into a folder: exit 1 where a larger share of rows cannot be scored. Default: 0.05.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Into a folder: that predict; with --engine dask, workers. Default: one a processor.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Into a folder: local, in this process, or dask, on a cluster. Default: local.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --engine dask: of a running Dask scheduler. Default: DASK_SCHEDULER_ADDRESS, else processes on "
            "this machine.",
        ),
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Score rows: into a folder of Parquet files with a registered model, else over HTTP with a deployed one.

    Into a folder, memory does not grow with the rows, and the same command goes on where an earlier one stopped. Rows
    that cannot be scored go to quarantine/ there, with reasons.
    """
    if output is None or environment is not None or output.suffix.lower() == ".csv":
        folder_only = {"--model": model, "--max-bad": max_bad, "--threads": threads}
        _refuse_options({**folder_only, "--engine": engine, "--scheduler": scheduler})
        if json:
            raise typer.BadParameter("--json is for scoring into a folder: give --output DIR")
        _over_http(inputs, output, environment or _DEFAULT_ENVIRONMENT, platform)
    else:
        if re.match(r"\w+:/", str(output)):
            raise typer.BadParameter(
                f"{output} is no folder: scores are written on this machine. Give a folder, and copy it afterwards"
            )
        work = _Work(engine or "local", scheduler, threads, max_bad)
        _into_folder(inputs, output, model or "champion", work, platform, json)


def _refuse_options(given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(
                f"{name} is for scoring into a folder: give --output DIR, and no --env"
            )


def _over_http(
    inputs: list[str], output: Path | None, environment: str, platform: str | None
) -> None:
    from insurance_claims.files import write_whole
    from ml_service.scoring_client import score_file

    if len(inputs) > 1:
        raise typer.BadParameter("over HTTP one file at a time: for several give --output DIR")
    if output is not None and output.is_dir():
        raise typer.BadParameter(
            f"--env scores over HTTP into one CSV file, and {output} is a folder: name a file, or leave --env out"
        )
    if "://" in inputs[0]:
        raise typer.BadParameter(
            "over HTTP a file of this machine: blobs are scored into a folder, with --output DIR"
        )
    endpoint = deployed(open_platform(platform), environment)
    csv = score_file(endpoint, Path(inputs[0]), progress)
    if output is None:
        sys.stdout.write(csv)
    else:
        write_whole(output, csv)
        print(f"wrote {output}")


def _into_folder(
    inputs: list[str], output: Path, model: str, work: _Work, platform: str | None, json: bool
) -> None:
    from insurance_claims.parameters import load_parameters
    from insurance_claims.scoring.batch.engines import choose_engine
    from insurance_claims.scoring.batch.job import MAX_BAD, Options
    from insurance_claims.scoring.batch.run import score_files

    work.refuse_nonsense()
    threads = work.threads or os.cpu_count() or 1
    options = Options(
        headroom=load_parameters().scoring.headroom,
        threads=threads,
        max_bad=MAX_BAD if work.max_bad is None else work.max_bad,
    )
    engine = choose_engine(work.engine, work.scheduler, threads)
    chosen = _model(open_platform(platform), model)
    with _watch() as watch:
        report = score_files(inputs, output, chosen, options, watch, engine)
    if json:
        print_json(report)
    else:
        print(f"{report.describe()}\nwrote {output}")
    if report.too_many_bad:
        progress(
            f"error: more than the share of {report.max_bad:g} cannot be scored: {output / 'quarantine'} says why. "
            "Mend the data, or raise --max-bad"
        )
        raise typer.Exit(1)


def _model(where: Platform, text: str) -> BatchModel:
    from insurance_claims.model import load_model
    from insurance_claims.scoring.batch.job import BatchModel

    version = where.models.get(chosen_version(where, text))
    return BatchModel(
        load_model(where.models.fetch(version.version)), version.name, version.version
    )


@contextmanager
def _watch() -> Iterator[Watch]:
    """A bar on a terminal, else a line every few seconds; on stderr, where it does not mix with results."""
    from insurance_claims.scoring.batch.progress import Progress, lines

    if not sys.stderr.isatty():
        yield lines(progress)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0)

        def show(state: Progress) -> None:
            bar.update(task, completed=state.done, description=state.describe())

        yield show
