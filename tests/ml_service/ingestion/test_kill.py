"""Killed with -9 at every point where something is written, and started again: the same end, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.ml_service.ingestion.stand_in import (
    DATA,
    Killing,
    StandIn,
    everything,
    in_child,
    ingestor,
    killed_at,
    statuses,
    trigger,
)

KILLED = -9
DOCUMENTS = ("write", "append")
LANDING = ("write_control", "remove_control", "remove")


def fragile(home: Path, count: Callable[[], None]) -> StandIn:
    """A platform whose every write may be the last thing that happens."""
    platform = StandIn(home)
    platform.documents = Killing(platform.documents, DOCUMENTS, count)
    platform.data = Killing(platform.data, ("add",), count)
    platform.pipelines = Killing(platform.pipelines, ("run",), count)
    return platform


def take(home: Path, address: str, moment: int) -> Callable[[], None]:
    """Take everything in, but die at a moment."""

    def work() -> None:
        count = killed_at(moment)
        made = ingestor(fragile(home, count), address)
        made.landing = Killing(made.landing, LANDING, count)
        made.handle(everything(made))

    return work


@pytest.mark.parametrize("kind", ["folder", "container"])
def test_ingestion(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, claims: pd.DataFrame
) -> None:
    landing: Any = request.getfixturevalue(kind)
    moment, code = 0, KILLED
    while code == KILLED:
        moment += 1
        landing.drop("a.csv", claims[:200])
        landing.drop("b.csv", claims[200:])
        landing.drop("bad.csv", f"broken {moment}".encode())
        home = tmp_path / f"home{moment}"
        code = in_child(take(home, landing.address, moment))
        platform = StandIn(home)
        made = ingestor(platform, landing.address)
        made.handle(everything(made))
        assert statuses(platform, made) == {
            **{"a.csv": ["accepted"], "b.csv": ["accepted"]},
            "bad.csv": ["quarantined"],
        }, moment
        assert [(v.version, v.rows) for v in platform.data.list(DATA)] == [(1, 400)], moment
        assert made.ledger.open_batch() is None
        assert everything(made) == ["a.csv", "b.csv", "bad.csv"]
        # The kernel's run may have to be done again where nobody wrote down that it had ended.
        assert len(platform.pipelines.of("ingestion")) == 1, moment
    assert code == 0
    # Before and after each of: list of files, run, three states of the batch, version, ledger, end.
    assert moment > 14


def test_training(tmp_path: Path, folder: Any, claims: pd.DataFrame) -> None:
    folder.drop("a.csv", claims)
    moment, code = 0, KILLED
    while code == KILLED:
        moment += 1
        home = tmp_path / f"home{moment}"
        platform = StandIn(home)
        made = ingestor(platform, folder.address)
        made.handle(everything(made))

        def work(home: Path = home, moment: int = moment) -> None:
            trigger(fragile(home, killed_at(moment))).train()

        code = in_child(work)
        again = trigger(platform)
        again.train()
        assert again.train() is None
        (run,) = platform.pipelines.of("training")
        assert run.parameters["data_version"] == "1"
    assert moment == 7


def test_a_torn_line_of_the_ledger_is_reported_and_its_batch_done_again(
    tmp_path: Path, folder: Any, claims: pd.DataFrame
) -> None:
    platform = StandIn(tmp_path / "home")
    folder.drop("a.csv", claims)
    made = ingestor(platform, folder.address)
    made.handle(["a.csv"])
    (ledger,) = (tmp_path / "home").rglob("ledger.jsonl")
    ledger.write_bytes(ledger.read_bytes()[:-30])
    assert made.ledger.read().torn == (1,)
    made.handle(["a.csv"])
    book = made.ledger.read()
    assert (len(book.records), book.torn) == (1, (1,))
    assert [v.version for v in platform.data.list(DATA)] == [1]
