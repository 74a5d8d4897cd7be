"""``mlops demo-data``: files drop, and a judged model comes of them, with nobody there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from ml_service.cli.context import open_platform, print_table
from ml_service.cli.shown import run_shown
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.ingestion.training import Training
    from ml_service.platforms.base import Platform

_ROOT = Path(__file__).parents[2]
_TIMEOUT = 1200.0
_GOOD, _BAD = "january.csv", "february.csv"


def demo_data(
    rows: Annotated[int, typer.Option(help="Synthetic rows of the file that drops.")] = 100_000,
) -> None:
    """Files drop into Azurite, or a folder: a data version, one training run, the gate's verdict, and the lineage.

    It begins anew each time, with a state of its own below MLOPS_HOME, and stops at its end what it started.
    """
    from ml_service.ingestion.arrival import drop, wait_for_outcome
    from ml_service.ingestion.landing import open_landing

    started = time.monotonic()
    home = settings().home.absolute() / "demo-data"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    os.environ.update(MLOPS_HOME=str(home), MLOPS_PLATFORM="local")
    settings.cache_clear()
    file = home / _GOOD
    run_shown("data", "synthesize", "--rows", str(rows), "--seed", "1", str(file))
    with ExitStack() as running:
        os.environ["MLOPS_LANDING"] = running.enter_context(_storage(home))
        alive = running.enter_context(_watcher())
        landing = open_landing(os.environ["MLOPS_LANDING"])
        for name, content in ((_GOOD, file.read_bytes()), (_BAD, b"id;target\n7;0\n")):
            print(f"\n{name} drops into {landing.address}", flush=True)
            drop(landing, name, content)
        where = open_platform("local")
        outcomes = [
            wait_for_outcome(where.documents, landing, name, _TIMEOUT, alive)
            for name in (_GOOD, _BAD)
        ]
        version = outcomes[0].record.data_version if outcomes[0].entry.part else None
        if version is None:
            raise ClaimsError(f"{_GOOD} was not taken: {outcomes[0].entry.reason}")
        training = _wait_for_training(where, version, alive)
        verdict = _verdict(where, training)
    print()
    print_table(
        "",
        ["file", "outcome", "data version", "training run", "model", "verdict"],
        [
            (_GOOD, outcomes[0].entry.status, version, *verdict),
            (_BAD, outcomes[1].entry.status, None, None, None, None),
        ],
    )
    print(f"\n{outcomes[1].entry.reason}")
    run_shown("data", "lineage", "--file", _GOOD)
    print(_NEXT.format(seconds=time.monotonic() - started, home=home))


_NEXT = """
Done in {seconds:.0f} s, and everything is stopped. What came of it can be looked at:

  export MLOPS_HOME={home}
  mlops ingest status           what became of every file
  mlops ingest show {good} the folder with the executed notebook
  mlops runs list               the runs that the files caused
  mlops models list             what is registered
  mlops ui                      runs, curves and plots in MLflow

docs/ingestion.md has the rules and the limits.""".replace("{good}", _GOOD)


@contextmanager
def _storage(home: Path) -> Iterator[str]:
    """The address of a container in an Azurite that runs meanwhile; where there can be none, a folder."""
    command = [sys.executable, "-m", "tests.azurite"]
    with subprocess.Popen(
        command,
        cwd=_ROOT,
        # Nobody else's: a port that is free, and a key that it makes up.
        env={**os.environ, "AZURITE_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as azurite:
        try:
            said = azurite.stdout.readline() if azurite.stdout else ""
            if said.startswith("Azurite answers"):
                print(f"\n{said.strip().partition(' (')[0]}", flush=True)
                values = _exported(home / "azurite" / "environment")
                os.environ.update(values)
                yield values["MLOPS_LANDING"]
                return
            said += azurite.stdout.read() if azurite.stdout else ""
        finally:
            azurite.terminate()
    reason = said.strip().splitlines()[-1].removeprefix("error: ") if said.strip() else "it ended"
    print(f"\na folder stands for blob storage, as Azurite does not run here: {reason}", flush=True)
    folder = home / "landing"
    folder.mkdir()
    yield str(folder)


def _exported(file: Path) -> dict[str, str]:
    lines = (line.removeprefix("export ") for line in file.read_text().splitlines())
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


@contextmanager
def _watcher() -> Iterator[Callable[[], None]]:
    """A watcher of the landing; gives a function that raises where it has ended, or all takes too long."""
    arguments = ["ingest", "watch", "--poll", "0.5", "--settle", "1", "--debounce", "2"]
    print(f"\n$ mlops {' '.join(arguments)} &", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "ml_service", *arguments])
    deadline = time.monotonic() + _TIMEOUT

    def alive() -> None:
        if process.poll() is not None:
            raise ClaimsError("the watcher has ended: its reason is above")
        if time.monotonic() > deadline:
            raise ClaimsError(f"nothing came of it within {_TIMEOUT:g} s: what happened is above")

    try:
        yield alive
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_training(where: Platform, version: int, alive: Callable[[], None]) -> Training:
    from ml_service.ingestion.ledger import FOLDER
    from ml_service.ingestion.training import read_training

    name = f"{FOLDER}/training-{settings().dataset_name}.json"
    while True:
        last = read_training(where.documents, name)
        if last is not None and last.version == version:
            if last.error is not None:
                raise ClaimsError(f"training failed: {last.error}")
            if last.run is not None:
                return last
        alive()
        time.sleep(0.5)


def _verdict(where: Platform, training: Training) -> tuple[str, str, str]:
    """Run, model and what the gate decided."""
    run = training.run or ""
    folder = where.pipelines.output(run, "register", "registration")
    registered: dict[str, Any] = read_json(folder / "model_version.json")
    model = f"version {registered['version']}" if registered["registered"] else "none"
    folder = where.pipelines.output(run, "evaluate", "evaluation")
    decision: dict[str, Any] = read_json(folder / "decision.json")
    return run[:8], model, str(decision["decision"])
