"""Whole batches: every row once, the same rows however often a run was broken off, nothing half written."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insurance_claims.data.synthesize import write_synthetic
from insurance_claims.errors import ClaimsError, DataError, ModelError
from insurance_claims.model import Model
from insurance_claims.scoring.batch import run as run_module
from insurance_claims.scoring.batch.job import BatchModel, Options
from insurance_claims.scoring.batch.parquet_reader import parquet_chunks
from insurance_claims.scoring.batch.plan import planned
from insurance_claims.scoring.batch.progress import Progress, lines
from insurance_claims.scoring.batch.run import Report, score_files
from insurance_claims.scoring.batch.sources import Source
from tests.insurance_claims.scoring.batch.outputs import contents, expected, scores

Score = Callable[..., Report]

WORKER = """
import sys
from pathlib import Path
from insurance_claims.errors import ClaimsError
from insurance_claims.model import load_model
from insurance_claims.scoring.batch.job import BatchModel, Options
from insurance_claims.scoring.batch.run import score_files

folder, output, *inputs = sys.argv[1:]
model = BatchModel(load_model(Path(folder)), "claims", 3)
try:
    score_files(inputs, Path(output), model, Options(2.0, 20, 1), lambda progress: None)
except ClaimsError as error:
    sys.exit(f"error: {error}")
"""


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_every_format_gives_the_scores_of_the_model(
    score: Score, model: BatchModel, table: pd.DataFrame, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    shuffled = table[table.columns[::-1]]
    shuffled.to_parquet(path) if ending == "parquet" else shuffled.to_csv(path, index=False)
    report = score(path)
    pd.testing.assert_frame_equal(
        scores(tmp_path / "out"), expected(model, table), check_exact=True
    )
    assert (report.rows, report.scored, report.quarantined, report.parts) == (1000, 1000, 0, 4)
    assert not (tmp_path / "out" / "quarantine").exists()
    manifest = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert manifest["scored"] == 1000
    assert manifest["model"] == {
        "name": "claims",
        "version": 3,
        "sha256": model.model.metadata["sha256"],
    }
    assert manifest["inputs"][0]["size"] == path.stat().st_size
    assert manifest["inputs"][0]["scored"] == 1000
    assert report.describe() == "scored 1,000 of 1,000 rows with version 3"


def test_several_inputs_and_columns_that_nobody_asked_for(
    score: Score, model: BatchModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    table.head(400).assign(note="x").to_csv(tmp_path / "in" / "a.csv", index=False)
    table.iloc[400:].drop(columns="target").to_parquet(tmp_path / "in" / "b.parquet")
    table.head(0).to_csv(tmp_path / "in" / "c.csv", index=False)
    report = score(tmp_path / "in")
    assert [item["ignored_columns"] for item in report.inputs] == [["note"], [], []]
    assert [item["scored"] for item in report.inputs] == [400, 600, 0]
    pd.testing.assert_frame_equal(
        scores(tmp_path / "out"), expected(model, table), check_exact=True
    )


def test_bad_rows_are_put_aside_with_reasons_and_counted(
    score: Score, model: BatchModel, table: pd.DataFrame, damaged: Path, tmp_path: Path
) -> None:
    report = score(damaged)
    assert (report.rows, report.scored, report.quarantined) == (1001, 996, 5)
    reasons = {"ps_ind_01": 2, "line": 1, "ps_car_13": 1, "ps_ind_04_cat": 1, "ps_reg_01": 1}
    assert report.reasons == reasons
    assert "5 rows (0.50%) are in quarantine: ps_ind_01 2, line 1" in report.describe()
    good = expected(model, table).drop([5, 6, 700, 999]).reset_index(drop=True)
    pd.testing.assert_frame_equal(scores(tmp_path / "out"), good, check_exact=True)
    aside = pd.concat(
        [pd.read_parquet(path) for path in sorted((tmp_path / "out/quarantine").iterdir())]
    )
    assert aside["row"].tolist() == [7, 8, 702, 1001, 1002]
    assert set(aside["input"]) == {str(damaged)}
    assert aside["reasons"].tolist()[3] == 'ps_reg_01 is "x", expected a number from 0 to 1.8'
    assert aside["line"].tolist()[4] == "7,7"
    assert not report.too_many_bad
    assert score(damaged, max_bad=0.004).too_many_bad


def test_what_was_put_aside_can_be_mended_and_scored(
    score: Score, model: BatchModel, table: pd.DataFrame, damaged: Path, tmp_path: Path
) -> None:
    score(damaged)
    aside = tmp_path / "out" / "quarantine"
    first = aside / "part-00000-000000.parquet"
    mended = pd.read_parquet(first).assign(ps_ind_01="7", ps_ind_04_cat="1")
    mended.to_parquet(tmp_path / "mended.parquet")
    report = score(tmp_path / "mended.parquet", out="again")
    assert (report.scored, report.quarantined) == (2, 0)
    assert report.inputs[0]["ignored_columns"] == ["input", "row", "reasons", "line"]
    whole = expected(model, table.assign(ps_ind_01=7, ps_ind_04_cat=1))
    assert scores(tmp_path / "again")["score"].tolist() == whole["score"].tolist()[5:7]


def test_a_finished_batch_is_not_done_again(
    score: Score, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score(damaged)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scores").iterdir()}
    monkeypatch.setattr(Model, "predict", None)
    again = score(damaged)
    assert dataclasses.replace(again, finished="") == dataclasses.replace(first, finished="")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_killed_batch_goes_on_to_the_same_rows(
    damaged: Path, table: pd.DataFrame, model_dir: Path, tmp_path: Path
) -> None:
    table.to_parquet(tmp_path / "b.parquet", row_group_size=70)
    inputs = [str(damaged), str(tmp_path / "b.parquet")]

    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORKER, str(model_dir), str(out), *inputs])

    assert start(tmp_path / "whole").wait() == 0
    parts = tmp_path / "out" / "scores"
    for least in (5, 60):
        process = start(tmp_path / "out")
        while len(list(parts.glob("part-*"))) < least:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert len(list(parts.glob("part-*"))) < 101
        assert not (tmp_path / "out" / "scores.json").exists()
    (parts / ".part-left.part").write_text("half")
    assert start(tmp_path / "out").wait() == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    manifests = [
        json.loads((tmp_path / name / "scores.json").read_text()) | {"finished": ""}
        for name in ("out", "whole")
    ]
    assert manifests[0] == manifests[1]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_memory_does_not_grow_with_the_rows(model_dir: Path, tmp_path: Path, ending: str) -> None:
    peaks = []
    for rows in (140_000, 700_000):
        path = tmp_path / f"{rows}.{ending}"
        write_synthetic(path, rows, seed=1)
        worker = WORKER.replace("Options(2.0, 20, 1)", "Options(2.0, 10_000, 1)")
        worker += "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        command = [
            sys.executable,
            "-c",
            worker,
            str(model_dir),
            str(tmp_path / str(rows)),
            str(path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    # As floats the rows between the two take 255 MB.
    assert peaks[1] - peaks[0] < 50e6


def test_a_part_that_is_lost_or_damaged_is_made_again(
    score: Score, damaged: Path, tmp_path: Path
) -> None:
    score(damaged)
    whole = contents(tmp_path / "out")
    parts = sorted((tmp_path / "out" / "scores").iterdir())
    parts[1].write_bytes(parts[1].read_bytes()[:100])
    parts[2].unlink()
    score(damaged)
    assert contents(tmp_path / "out") == whole


def test_a_full_disk_leaves_whole_parts_and_can_be_gone_on_from(
    damaged: Path, table: pd.DataFrame, model_dir: Path, tmp_path: Path
) -> None:
    # The first files' parts are smaller than what the disk takes, the last one's are larger.
    noise = np.random.default_rng(1)
    wide = table.assign(ps_ind_01=[noise.bytes(2000).hex() for _ in range(len(table))])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    inputs = [str(damaged), str(tmp_path / "wide.csv")]
    out = tmp_path / "out"
    command = [sys.executable, "-c", WORKER, str(model_dir), str(out), *inputs]

    def no_room() -> None:
        # Every write beyond 30 KiB of a file fails, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (30 << 10, 30 << 10))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=no_room)
    assert full.returncode == 1
    assert "cannot be written: File too large" in full.stderr
    assert "Traceback" not in full.stderr
    assert [path for path in out.rglob("*") if path.name.endswith(".part")] == []
    assert not (out / "scores.json").exists()
    assert len(list((out / "scores").iterdir())) == 51
    subprocess.run(command, check=True)
    subprocess.run([*command[:4], str(tmp_path / "whole"), *inputs], check=True)
    assert contents(out) == contents(tmp_path / "whole")


def changing(change: Callable[[], Any]) -> Callable[[Source, int, int], Iterator[Any]]:
    """A reader under which the file changes once the second chunk has been read."""

    def chunks(file: Source, first: int, rows: int) -> Iterator[Any]:
        for chunk in parquet_chunks(file, first, rows):
            if chunk.number == 1:
                change()
            yield chunk

    return chunks


@pytest.mark.parametrize("how", ["written", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    score: Score, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table.to_parquet(path)
    shutil.copy2(path, other)
    changes: dict[str, Callable[[], Any]] = {
        "written": lambda: path.write_bytes(other.read_bytes()),
        "replaced": lambda: other.rename(path),
        "removed": path.unlink,
    }
    monkeypatch.setattr(run_module, "parquet_chunks", changing(changes[how]))
    with pytest.raises(DataError, match="changed while it was read|does not exist any more"):
        score(path)
    names = [name for name in contents(tmp_path / "out") if name != "plan.json"]
    assert names == ["scores/part-00000-000000.parquet"]
    assert not (tmp_path / "out" / "scores.json").exists()


def test_another_input_or_model_needs_another_folder(
    score: Score, model: BatchModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    score(path)
    before = contents(tmp_path / "out")
    newer = dataclasses.replace(model, version=4)
    other = {**model.model.metadata, "sha256": "f" * 64}
    retrained = dataclasses.replace(model, model=Model(model.model.booster, other))
    (tmp_path / "b.csv").write_bytes(path.read_bytes())
    begun = "out was begun with something else"
    with pytest.raises(DataError, match=rf"{begun}: the model was claims version 3 .* version 4"):
        score(path, by=newer)
    with pytest.raises(DataError, match=f"{begun}: the model was .*ffffffffffff"):
        score(path, by=retrained)
    with pytest.raises(DataError, match=f"{begun}: chunk_rows was 300, and is 200"):
        score(path, chunk_rows=200)
    with pytest.raises(DataError, match=f"{begun}: input .*b.csv is new"):
        score(path, tmp_path / "b.csv")
    with pytest.raises(DataError, match="b.csv is new; input .*a.csv is gone. Use another output"):
        score(tmp_path / "b.csv")
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match=f"{begun}: input .*a.csv was changed"):
        score(path)
    assert contents(tmp_path / "out") == before
    score(path, out="elsewhere")


def test_one_process_at_a_time_writes_a_folder(score: Score, damaged: Path, tmp_path: Path) -> None:
    with planned(tmp_path / "out", {}):
        with pytest.raises(DataError, match="another process is scoring into"):
            score(damaged)


def test_a_folder_with_other_files_is_left_alone(
    score: Score, damaged: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds other files"):
        score(damaged)
    assert contents(tmp_path / "out") == {"thesis.txt": b"years of work"}
    with pytest.raises(DataError, match="damaged.csv cannot be written"):
        score(damaged, out="damaged.csv")


@pytest.mark.parametrize("content", ['{"format": "another"}', "[]", '{"inputs": []}'])
def test_a_plan_of_another_version_is_left_alone(
    score: Score, damaged: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text(content)
    with pytest.raises(DataError, match="is no plan of this version: use another folder"):
        score(damaged)
    assert contents(tmp_path / "out") == {"plan.json": content.encode()}


def test_a_corrupt_row_group_keeps_what_was_scored_before_it(
    score: Score, table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pandas(table), path, row_group_size=300, write_page_checksum=True)
    group = pq.ParquetFile(path).metadata.row_group(2)
    content = bytearray(path.read_bytes())
    start = group.column(5).dictionary_page_offset
    content[start + 30 : start + 40] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(DataError, match="a.parquet cannot be read between rows 601 and 900"):
        score(path)
    assert len(scores(tmp_path / "out")) == 600
    assert not (tmp_path / "out" / "scores.json").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "is empty"), ("id,target\n", "lacks 57"), (None, "not one row to score")],
)
def test_nothing_to_score_is_an_error(
    score: Score, table: pd.DataFrame, tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table.head(0).to_csv(index=False) if content is None else content)
    with pytest.raises(ClaimsError, match=reason):
        score(path)
    assert not (tmp_path / "out" / "scores.json").exists()


def test_a_score_that_is_no_number_is_an_error(
    score: Score, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "predict", lambda self, rows, threads: np.full(len(rows), np.nan))
    with pytest.raises(ModelError, match="claims version 3 gave a score that is no number"):
        score(damaged)
    assert not list((tmp_path / "out").rglob("part-*"))


def test_threads_do_not_change_a_bit(score: Score, damaged: Path, tmp_path: Path) -> None:
    score(damaged, out="one", threads=1)
    score(damaged, out="two", threads=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_progress_ends_at_the_whole(
    model: BatchModel, damaged: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_parquet(tmp_path / "b.parquet")
    seen: list[Progress] = []
    inputs = [str(damaged), str(tmp_path / "b.parquet")]
    score_files(inputs, tmp_path / "out", model, Options(2.0, 300, 1), seen.append)
    assert [item.done for item in seen] == sorted(item.done for item in seen)
    assert (seen[-1].done, seen[-1].rows, seen[-1].quarantined) == (1.0, 2001, 5)
    assert 0 < seen[0].done < 1


def test_a_line_is_logged_every_five_seconds() -> None:
    now = 0.0
    said: list[str] = []
    watch = lines(said.append, lambda: now)
    for now in (1.0, 4.0, 5.0, 6.0, 11.0):
        watch(Progress(1000, 2, 0.25, 500.4))
    assert said == ["1,000 rows (25%), 500 rows/s, 2 in quarantine"] * 2
