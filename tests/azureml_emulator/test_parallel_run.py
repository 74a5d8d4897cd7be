"""The driver of steps over mini batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.azureml_emulator.execution.step_process import DRIVER

ENTRY = """
import sys
calls = []
def init():
    print("init", flush=True)
def run(mini_batch):
    names = [path.rpartition("/")[2] for path in mini_batch]
    calls.append(names)
    if "flaky" in names and len(calls) == 1:
        raise RuntimeError("only the first time")
    if "bad" in names:
        raise RuntimeError("bad file")
    return [f"{name},{sys.argv[sys.argv.index('--extra') + 1]}" for name in names if name != "lost"]
"""


def drive(
    folder: Path, files: list[str], size: int, threshold: int
) -> subprocess.CompletedProcess[str]:
    inputs = folder / "inputs"
    for name in ("inputs", "output"):
        (folder / name).mkdir()
    for name in files:
        (inputs / name).write_text(name)
    (folder / "entry.py").write_text(ENTRY)
    words = f"--client_sdk_version 1 --scoring_module_name entry.py --mini_batch_size {size}"
    words += (
        f" --error_threshold {threshold} --output_action append_row --append_row_file_name rows.csv"
    )
    words += f" --output {folder / 'output'} --extra word --input_fds_0 rows --run_max_try 2"
    return subprocess.run(
        [sys.executable, str(DRIVER), *words.split()],
        cwd=folder,
        env={**os.environ, "AZUREML_DATAREFERENCE_rows": str(inputs)},
        capture_output=True,
        text=True,
    )


def test_rows_of_all_mini_batches_end_up_in_one_file(tmp_path: Path) -> None:
    done = drive(tmp_path, ["a", "b", "c"], size=2, threshold=0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("init") == 1
    assert "mini batch 2 of 2: 1 rows" in done.stdout
    assert (tmp_path / "output" / "rows.csv").read_text() == "a,word\nb,word\nc,word\n"


@pytest.mark.parametrize(
    ("files", "threshold", "code"),
    [
        (["a", "flaky"], 0, 0),
        (["a", "bad"], 0, 1),
        (["a", "lost"], 0, 1),
        (["a", "bad"], 1, 0),
        (["bad", "lost"], 1, 1),
        (["bad", "lost"], -1, 0),
    ],
)
def test_as_many_items_may_fail_as_are_allowed(
    tmp_path: Path, files: list[str], threshold: int, code: int
) -> None:
    done = drive(tmp_path, files, size=1, threshold=threshold)
    assert done.returncode == code, done.stdout
    assert (tmp_path / "output" / "rows.csv").exists() is (code == 0)
