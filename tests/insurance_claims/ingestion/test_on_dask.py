"""A batch on a cluster of two workers: the same bytes and outcomes as in one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims import dask_cluster
from insurance_claims.dask_cluster import ClusterError, dask_client
from insurance_claims.errors import ClaimsError
from insurance_claims.ingestion import engines, on_dask
from insurance_claims.ingestion.batch import Batch, Claimed, Engine, FileResult
from insurance_claims.ingestion.engines import choose_engine, require_cluster
from insurance_claims.ingestion.on_dask import dask_engine
from insurance_claims.ingestion.storage import StorageError, folder_etag

FILES = 8


@pytest.fixture
def landing(tmp_path: Path, claims: pd.DataFrame) -> Path:
    """Good files, one with bad rows, one that is no table."""
    folder = tmp_path / "landing"
    folder.mkdir()
    for number in range(FILES - 2):
        claims[number * 40 : number * 40 + 40].to_csv(folder / f"{number}.csv", index=False)
    bad = claims[240:].copy()
    bad.loc[bad.index[:2], "ps_ind_01"] = 99
    bad.to_csv(folder / "6.csv", index=False)
    (folder / "7.csv").write_bytes(b"id;target\n")
    return folder


@pytest.fixture
def batch(landing: Path) -> Batch:
    """All files of the landing."""
    found = [
        Claimed(file.name, folder_etag(file.stat()), file.stat().st_size)
        for file in sorted(landing.iterdir())
    ]
    return Batch("b1", "2026-01-02", tuple(found))


@pytest.fixture
def cluster(dask: Any) -> Engine:
    """The engine on two workers."""
    return dask_engine(lambda: nullcontext(dask))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run(engine: Engine, landing: Path, batch: Batch, output: Path) -> list[FileResult]:
    output.mkdir()
    return list(engine(str(landing), batch, output, 0.05))


def executed(dask: Any) -> dict[str, int]:
    """How many tasks each worker has done."""
    found: dict[str, int] = dask.run(lambda dask_worker: dask_worker.state.executed_count)
    return found


def test_two_workers_leave_what_one_process_leaves(
    dask: Any, cluster: Engine, landing: Path, batch: Batch, tmp_path: Path
) -> None:
    before = executed(dask)
    found = run(cluster, landing, batch, tmp_path / "cluster")
    assert [after > before[worker] for worker, after in executed(dask).items()] == [True, True]
    assert found == run(choose_engine("local"), landing, batch, tmp_path / "here")
    outcomes = [item.outcome.status for item in found if item.outcome]
    assert outcomes == ["accepted"] * (FILES - 1) + ["quarantined"]
    written = contents(tmp_path / "cluster")
    assert written == contents(tmp_path / "here")
    assert [name.split("/")[0] for name in sorted(written)].count("curated") == FILES - 1
    assert "quarantine/arrival=2026-01-02/b1-00006.parquet" in written


def test_a_file_that_changed_is_left_for_the_next_batch(
    cluster: Engine, landing: Path, batch: Batch, tmp_path: Path
) -> None:
    (landing / "1.csv").write_bytes(b"id\n")
    found = run(cluster, landing, batch, tmp_path / "out")
    assert [item.file.name for item in found if item.outcome is None] == ["1.csv"]
    assert not (tmp_path / "out/curated/arrival=2026-01-02/b1-00001.parquet").exists()


def test_a_worker_that_is_killed_costs_nothing(
    dask: Any, cluster: Engine, landing: Path, batch: Batch, tmp_path: Path
) -> None:
    first, *_ = dask.run(os.getpid).values()
    output = tmp_path / "out"
    output.mkdir()
    found: list[FileResult] = []
    for result in cluster(str(landing), batch, output, 0.05):
        if not found:
            os.kill(first, signal.SIGKILL)
        found.append(result)
    assert found == run(choose_engine("local"), landing, batch, tmp_path / "here")
    assert contents(output) == contents(tmp_path / "here")


def test_a_landing_that_workers_cannot_read_is_one_reason(
    cluster: Engine, batch: Batch, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="nowhere is not a folder"):
        run(cluster, tmp_path / "nowhere", batch, tmp_path / "out")


def test_workers_with_other_code_are_refused(
    cluster: Engine, landing: Path, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "_code", lambda: "another")
    with pytest.raises(ClusterError, match="has another version of insurance_claims"):
        run(cluster, landing, batch, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


class Gone:
    """A client whose scheduler does not answer any more."""

    def nthreads(self) -> dict[str, int]:
        raise OSError("gone")


def test_a_scheduler_that_is_gone_is_one_reason(
    landing: Path, batch: Batch, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match="does not answer any more .*no file is lost"):
        run(dask_engine(lambda: nullcontext(Gone())), landing, batch, tmp_path / "out")


def test_only_the_engine_dask_needs_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dask_cluster.SCHEDULER, "tcp://127.0.0.1:1")
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 0.3)
    require_cluster("local")
    with pytest.raises(ClusterError, match="no Dask cluster at tcp"):
        require_cluster("dask")


@pytest.mark.parametrize("call", [choose_engine, require_cluster])
def test_without_dask_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[str], object]
) -> None:
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: None)
    with pytest.raises(ClaimsError, match="engine dask needs Dask: `make dask` installs it"):
        call("dask")


def test_the_engine_connects_to_the_scheduler_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(dask_cluster, "dask_client", lambda *given: asked.append(given))
    engines._connect()
    assert asked == [(None, os.cpu_count())]
    assert dask_client is not dask_cluster.dask_client
