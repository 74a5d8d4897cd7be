"""``mlops ingest``: watch, run, event, check-arrival, status, show, retry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    open_platform,
    print_json,
    print_table,
    progress,
)
from ml_service.cli.ingest_options import (
    EngineOption,
    LandingOption,
    MaxBadOption,
    NameOption,
    RemoveOption,
    SchedulerOption,
    SettleOption,
    TrainOption,
    TriesOption,
    checked_engine,
)
from ml_service.ingestion.options import Limits, Pace
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.ingestion.ingestor import Ingestor
    from ml_service.ingestion.ledger import Record
    from ml_service.ingestion.training import Trigger
    from ml_service.platforms.base import PipelineRun, Platform

app = typer.Typer(
    help="Files that are dropped: into the data, and into training.", no_args_is_help=True
)

_LIMITS, _PACE = Limits(), Pace()


@app.command()
def watch(
    landing: LandingOption,
    name: NameOption = None,
    max_bad: MaxBadOption = _LIMITS.max_bad,
    tries: TriesOption = _LIMITS.tries,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = _PACE.poll,
    settle: SettleOption = _PACE.settle,
    debounce: Annotated[
        float, typer.Option(min=0, help="Seconds without a new file before training begins.")
    ] = _PACE.debounce,
    train: TrainOption = True,
    remove: RemoveOption = False,
    engine: EngineOption = _LIMITS.engine,
    scheduler: SchedulerOption = None,
    platform: PlatformOption = None,
) -> None:
    """Take in files as they are dropped, and train once with all of them. Runs until Ctrl-C.

    Killed at any moment it loses nothing and does nothing twice: the next one goes on where it was. Several may watch.
    """
    from ml_service.ingestion.watch import Watcher

    where = open_platform(platform)
    chosen = checked_engine(where, engine, scheduler)
    limits = Limits(max_bad=max_bad, tries=tries, remove=remove, engine=chosen)
    ingestor = _ingestor(where, landing, name, limits)
    trigger = _trigger(where, name) if train else None
    pace = Pace(poll=poll, settle=settle, debounce=debounce)
    _say(f"watching {ingestor.landing.address} (Ctrl-C ends it)")
    try:
        Watcher(ingestor, trigger, pace, _say).run()
    except KeyboardInterrupt:
        _say("stopped: the next watcher goes on from here")


@app.command()
def run(
    landing: LandingOption,
    name: NameOption = None,
    max_bad: MaxBadOption = _LIMITS.max_bad,
    tries: TriesOption = _LIMITS.tries,
    settle: SettleOption = _PACE.settle,
    train: TrainOption = True,
    remove: RemoveOption = False,
    engine: EngineOption = _LIMITS.engine,
    scheduler: SchedulerOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Take in all that is in the landing now, train once, and end. Exit code 1 where a file was not taken."""
    from ml_service.ingestion.watch import Watcher

    where = open_platform(platform)
    chosen = checked_engine(where, engine, scheduler)
    limits = Limits(max_bad=max_bad, tries=tries, remove=remove, engine=chosen)
    ingestor = _ingestor(where, landing, name, limits)
    trigger = _trigger(where, name) if train else None
    watcher = Watcher(ingestor, trigger, Pace(poll=0.5, settle=settle), progress)
    records, training = watcher.drain()
    _end(records, training, json)


@app.command()
def event(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Of an event or a list of them; - is stdin.")
    ],
    landing: LandingOption,
    name: NameOption = None,
    max_bad: MaxBadOption = _LIMITS.max_bad,
    tries: TriesOption = _LIMITS.tries,
    train: TrainOption = False,
    remove: RemoveOption = False,
    engine: EngineOption = _LIMITS.engine,
    scheduler: SchedulerOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Take in what an event of Event Grid tells of: Microsoft.Storage.BlobCreated.

    Answers Event Grid's handshake on stdout. An event about another place than the landing is refused.
    """
    from ml_service.ingestion.events import Handshake, named_files, parse_events

    events = parse_events(_content(file))
    if isinstance(events, Handshake):
        print_json(events.answer())
        return
    where = open_platform(platform)
    chosen = checked_engine(where, engine, scheduler)
    limits = Limits(max_bad=max_bad, tries=tries, remove=remove, engine=chosen)
    ingestor = _ingestor(where, landing, name, limits)
    records = ingestor.handle(named_files(events, ingestor.landing.address))
    trigger = _trigger(where, name) if train else None
    _end(records, trigger.train() if trigger else None, json)


@app.command()
def status(
    landing: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL",
            envvar="MLOPS_LANDING",
            help="Also show what waits there. Default: what every landing's ledger says.",
        ),
    ] = None,
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Only what a person has to look at.")
    ] = False,
    name: NameOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """What became of every file, what waits, and the last training."""
    from ml_service.ingestion.status import read_status

    where = open_platform(platform)
    found = read_status(where.documents, name or settings().dataset_name, landing)
    shown = [item for item in found.files if not alerts or item.severity == "error"]
    if json:
        print_json({"files": shown, "training": found.training, "torn_lines": found.torn})
        return
    if not shown:
        print("nothing to look at" if alerts else "no file has arrived yet")
    else:
        columns = ["file", "status", "rows", "bad", "version", "when", "reason"]
        cells = [
            (i.name, i.status, f"{i.rows:,}", f"{i.bad:,}", i.data_version, i.time[:19], i.reason)
            for i in shown
        ]
        print_table("", columns, cells)
    if found.torn:
        print(
            f"warning: a crash tore {found.torn} lines of the ledger; their batches are done again"
        )
    if found.training is not None:
        print(found.training_line())


@app.command()
def show(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Its name in the landing.")],
    name: NameOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Every outcome of a file, and the folder with the executed notebook, its report and the quarantine."""
    from ml_service.ingestion.status import evidence, read_status

    where = open_platform(platform)
    found = read_status(where.documents, name or settings().dataset_name, None)
    mine = [item for item in found.files if item.name == file]
    if not mine:
        raise ClaimsError(f"no file {file!r} has an outcome: see `mlops ingest status`")
    folder = evidence(where, mine[0])
    if json:
        print_json({"outcomes": mine, "evidence": folder})
        return
    for item in mine:
        said = f"; {item.reason}" if item.reason else ""
        print(f"{item.time[:19]} {item.status}, {item.rows:,} rows, {item.bad:,} bad{said}")
    print(f"evidence: {folder or 'none: its last batch came to no end'}")


@app.command()
def retry(
    landing: LandingOption,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="In the landing. Default: every dead letter."),
    ] = None,
    name: NameOption = None,
    platform: PlatformOption = None,
) -> None:
    """Let files be tried again that were given up or quarantined. The next `run` or `watch` takes them."""
    ingestor = _ingestor(open_platform(platform), landing, name, Limits())
    chosen = ingestor.retry(files or [])
    for file in chosen:
        print(f"{file} is tried again")
    if not chosen:
        print("there are no dead letters")


def _ingestor(where: Platform, landing: str, name: str | None, limits: Limits) -> Ingestor:
    from ml_service.ingestion.ingestor import Ingestor
    from ml_service.ingestion.landing import open_landing

    data = name or settings().dataset_name
    return Ingestor(where, open_landing(landing), data, limits, _say)


def _trigger(where: Platform, name: str | None) -> Trigger:
    from ml_service.ingestion.training import Trigger

    chosen = settings()
    model = chosen.model_name if "model_name" in chosen.model_fields_set else None
    return Trigger(where, name or chosen.dataset_name, model, _say)


def _content(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ClaimsError(f"{file} cannot be read: {error.strerror}") from None


def _end(records: list[Record], training: PipelineRun | None, json: bool) -> None:
    """Say what became of the files, and end with exit code 1 where a person has to look at one."""
    entries = [entry for record in records for entry in record.files]
    if json:
        print_json({"records": records, "training": training})
    else:
        for entry in entries:
            said = f"; {entry.reason}" if entry.reason else ""
            print(f"{entry.name}: {entry.status}, {entry.rows:,} rows{said}")
        if not entries:
            print("nothing new")
    not_taken = [entry for entry in entries if entry.severity == "error" or not entry.final]
    if training is not None and training.error is not None:
        raise ClaimsError(f"training failed: {training.error}")
    if not_taken:
        raise typer.Exit(1)


def _say(line: str) -> None:
    progress(line)
