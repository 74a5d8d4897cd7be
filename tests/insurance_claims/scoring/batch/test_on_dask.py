"""Batches on a cluster of two workers: the same parts as in one process, whatever dies on the way."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insurance_claims import dask_cluster
from insurance_claims.dask_cluster import ClusterError, dask_client, distributed
from insurance_claims.errors import DataError, ModelError
from insurance_claims.files import write_whole
from insurance_claims.scoring.batch import on_dask, parts
from insurance_claims.scoring.batch.engines import choose_engine
from insurance_claims.scoring.batch.job import BatchModel, Options
from insurance_claims.scoring.batch.on_dask import dask_engine
from insurance_claims.scoring.batch.progress import Progress, Watch
from insurance_claims.scoring.batch.run import Report, score_files, score_here
from tests.insurance_claims.scoring.batch.outputs import contents, scores

Score = Callable[..., Report]

KILLED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from insurance_claims.dask_cluster import dask_client
from insurance_claims.model import load_model
from insurance_claims.scoring.batch.job import BatchModel, Options
from insurance_claims.scoring.batch.on_dask import dask_engine
from insurance_claims.scoring.batch.run import score_files
import psutil

folder, output, *inputs = sys.argv[1:]
parts = 0

def watch(progress):
    global parts
    parts += 1
    if parts == 7:
        print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    model = BatchModel(load_model(Path(folder)), "claims", 3)
    engine = dask_engine(partial(dask_client, None, 2))
    score_files(inputs, Path(output), model, Options(2.0, 50, 1), watch, engine)
"""


@pytest.fixture
def inputs(tmp_path: Path, table: pd.DataFrame, damaged: Path) -> list[str]:
    """Every format; row groups of 130 rows; bad rows and lines."""
    table.to_parquet(tmp_path / "a.parquet", row_group_size=130)
    table.head(0).to_parquet(tmp_path / "empty.parquet")
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(damaged.read_bytes()))
    names = ("a.parquet", "empty.parquet", "damaged.csv", "c.csv.gz")
    return [str(tmp_path / name) for name in names]


@pytest.fixture
def on_cluster(dask: Any, model: BatchModel, tmp_path: Path) -> Score:
    """Scores inputs into ``tmp_path / "out"`` on the cluster, 50 rows a part."""

    def run(
        given: list[str],
        watch: Watch = lambda progress: None,
        connect: Callable[[], AbstractContextManager[Any]] = lambda: nullcontext(dask),
    ) -> Report:
        options = Options(2.0, chunk_rows=50)
        return score_files(given, tmp_path / "out", model, options, watch, dask_engine(connect))

    return run


@pytest.fixture
def whole(inputs: list[str], model: BatchModel, tmp_path: Path) -> dict[str, bytes]:
    """What one process writes."""
    score_files(inputs, tmp_path / "whole", model, Options(2.0, 50, 1), lambda progress: None)
    return contents(tmp_path / "whole")


def test_two_workers_write_what_one_process_writes(
    dask: Any, on_cluster: Score, inputs: list[str], whole: dict[str, bytes], tmp_path: Path
) -> None:
    def executed() -> dict[str, int]:
        found: dict[str, int] = dask.run(lambda dask_worker: dask_worker.state.executed_count)
        return found

    before, seen = executed(), list[Progress]()
    report = on_cluster(inputs, seen.append)
    assert (report.rows, report.quarantined) == (3002, 10)
    assert contents(tmp_path / "out") == whole
    both = [json.loads((tmp_path / name / "scores.json").read_text()) for name in ("out", "whole")]
    assert both[0] | {"finished": ""} == both[1] | {"finished": ""}
    assert [after > before[worker] for worker, after in executed().items()] == [True, True]
    assert [item.done for item in seen] == sorted(item.done for item in seen)
    assert (seen[-1].done, seen[-1].rows, seen[-1].quarantined) == (1.0, 3002, 10)


def test_what_is_done_needs_no_cluster(
    on_cluster: Score, inputs: list[str], whole: dict[str, bytes], tmp_path: Path
) -> None:
    def no_cluster() -> AbstractContextManager[Any]:
        raise AssertionError("it was asked for")

    (tmp_path / "whole").rename(tmp_path / "out")
    assert on_cluster(inputs, connect=no_cluster).rows == 3002
    for name in ("00000-000003", "00000-000019", "00002-000002", "00003-000020"):
        (tmp_path / "out" / "scores" / f"part-{name}.parquet").unlink()
    with pytest.raises(AssertionError, match="it was asked for"):
        on_cluster(inputs, connect=no_cluster)
    made = list[Progress]()
    on_cluster(inputs, made.append)
    assert len(made) == 4
    assert contents(tmp_path / "out") == whole


def test_a_killed_command_leaves_no_worker_and_either_engine_goes_on(
    on_cluster: Score,
    model: BatchModel,
    inputs: list[str],
    whole: dict[str, bytes],
    model_dir: Path,
    tmp_path: Path,
) -> None:
    script, out = tmp_path / "killed.py", tmp_path / "out"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(model_dir), str(out), *inputs]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert 7 <= len(list((out / "scores").glob("part-*"))) < 30
    workers = [int(pid) for pid in killed.stdout.split()]
    assert len(workers) >= 2
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if psutil.pid_exists(pid)] == []
    stopped = list[Progress]()

    def stop(progress: Progress) -> None:
        stopped.append(progress)
        if len(stopped) == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_cluster(inputs, stop)
    assert len(list((out / "scores").glob("part-*"))) < len(whole) - 1
    score_files(inputs, out, model, Options(2.0, 50, 1), lambda progress: None)
    assert contents(out) == whole


def test_a_worker_that_is_killed_costs_nothing(
    dask: Any, on_cluster: Score, inputs: list[str], whole: dict[str, bytes], tmp_path: Path
) -> None:
    first, second = dask.run(os.getpid).values()
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        for pid in {5: [first], 30: [second]}.get(len(killed), []):
            os.kill(pid, signal.SIGKILL)
        killed.append(1)

    on_cluster(inputs, kill)
    assert not psutil.pid_exists(first) or psutil.Process(first).status() == "zombie"
    assert contents(tmp_path / "out") == whole


def test_a_full_disk_keeps_whole_parts(
    on_cluster: Score,
    inputs: list[str],
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[Path] = []

    def full(target: Path, content: bytes) -> None:
        if len(written) == 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(target)
        write_whole(target, content)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_whole", full)
        with pytest.raises(DataError, match="cannot be written: No space left on device"):
            on_cluster(inputs)
    assert len(list((tmp_path / "out").rglob("part-*"))) == 20
    on_cluster(inputs)
    assert contents(tmp_path / "out") == whole


def test_a_corrupt_row_group_costs_only_its_own_rows(
    on_cluster: Score, table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pandas(table), path, row_group_size=300, write_page_checksum=True)
    start = pq.ParquetFile(path).metadata.row_group(2).column(5).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[start + 30 : start + 40] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"a.parquet cannot be read between rows 6\d1 and .* worker"
    ):
        on_cluster([str(path)])
    assert scores(tmp_path / "out")["id"].isin(table["id"]).all()
    assert len(scores(tmp_path / "out")) >= 400
    assert not (tmp_path / "out" / "scores.json").exists()


def test_a_file_that_changes_while_it_is_read_is_an_error(
    on_cluster: Score, inputs: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    content, seen = path.read_bytes(), list[Progress]()

    def change(progress: Progress) -> None:
        seen.append(progress)
        path.write_bytes(content)

    with pytest.raises(DataError, match="a.parquet was changed while it was read"):
        on_cluster([str(path)], change)
    # One span of a row group, which was read before.
    assert len(seen) <= 4
    assert len(list((tmp_path / "out" / "scores").iterdir())) == len(seen)


def test_workers_with_other_code_are_refused(
    on_cluster: Score, inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "code_sha256", lambda: "another")
    with pytest.raises(ModelError, match="has another version of insurance_claims or of LightGBM"):
        on_cluster(inputs)
    assert list((tmp_path / "out").rglob("part-*")) == []


def test_nobody_elsewhere_can_connect(dask: Any) -> None:
    assert dask.scheduler.address.startswith("tls://127.0.0.1:")
    processes = [psutil.Process(pid) for pid in dask.run(os.getpid).values()]
    own = [psutil.Process(), *processes]
    listening = [
        connection.laddr.ip
        for process in own
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


class NobodyWorks:
    """A cluster that has a scheduler and no worker."""

    def submit(self, *arguments: Any, **options: Any) -> str:
        return f"future of {arguments[0].__name__}"

    def nthreads(self) -> dict[str, int]:
        return {}


def test_a_cluster_without_workers_is_given_up(
    on_cluster: Score, inputs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr("distributed.wait", never)
    monkeypatch.setattr(dask_cluster, "_NO_WORKER_SECONDS", 0)
    with pytest.raises(ClusterError, match="has lost all of its workers, and none came back"):
        on_cluster(inputs, connect=lambda: nullcontext(NobodyWorks()))


@pytest.mark.parametrize(
    ("address", "reason"),
    [("tcp://127.0.0.1:1", "no Dask cluster at tcp"), ("ftp://x", "no Dask cluster at ftp")],
)
def test_a_scheduler_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 0.3)
    with pytest.raises(ClusterError, match=reason):
        with dask_client(address, 2):
            pass
    monkeypatch.setenv(dask_cluster.SCHEDULER, address)
    with pytest.raises(ClusterError, match=reason):
        with dask_client(None, 2):
            pass


def test_an_engine_is_chosen_by_its_name(
    dask: Any, model: BatchModel, inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def connect(*arguments: Any) -> Any:
        asked.append(arguments)
        return nullcontext(dask)

    monkeypatch.setattr(dask_cluster, "dask_client", connect)
    engine = choose_engine("dask", "tcp://x:8786", 3)
    score_files(inputs, tmp_path / "out", model, Options(2.0), lambda progress: None, engine)
    assert asked == [("tcp://x:8786", 3)]
    assert choose_engine("local", None, 3) is score_here


def test_a_cluster_that_no_worker_joins_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "_WORKER_SECONDS", 0.1)
    web = {"dashboard_address": "127.0.0.1:0"}
    with distributed().LocalCluster(n_workers=0, host="127.0.0.1", **web) as none:
        with pytest.raises(ClusterError, match=f"no worker joined .*{none.scheduler_address}"):
            with dask_client(none.scheduler_address, 2):
                pass


def test_without_dask_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match="engine dask needs Dask: `make dask` installs it"):
        dask_engine(lambda: dask_client(None, 2))
