"""What Azure runs in a ParallelRunStep: gives mini batches of files to an entry script, and gathers its rows.

Started as a script of its own in the step's folder, with the arguments that the SDK put into the graph. The entry
script has ``init()``, called once, and ``run(mini_batch)``, called with a list of paths; what it does not know is left
to its own parser. Each element that ``run`` returns is one that succeeded.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def main(words: list[str]) -> int:
    """Run every mini batch.

    Returns:
        The exit code: not 0 where more items failed than are allowed.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--scoring_module_name", required=True)
    parser.add_argument("--mini_batch_size", type=int, default=10)
    parser.add_argument("--error_threshold", type=int, default=-1)
    parser.add_argument("--output_action", required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--append_row_file_name", default="parallel_run_step.txt")
    parser.add_argument("--run_max_try", type=int, default=3)
    options, rest = parser.parse_known_args(words)
    files = [file for folder in _inputs(rest) for file in _files(folder)]
    size = options.mini_batch_size
    batches = [files[start : start + size] for start in range(0, len(files), size)]
    # The entry script reads its arguments from there.
    sys.argv = [options.scoring_module_name, *words]
    sys.path.insert(0, os.getcwd())
    entry = _load(Path(options.scoring_module_name))
    entry.init()
    failed = 0
    rows: list[str] = []
    for number, batch in enumerate(batches):
        done = _attempt(entry, batch, options.run_max_try)
        failed += max(0, len(batch) - len(done))
        rows += done
        print(f"mini batch {number + 1} of {len(batches)}: {len(done)} rows", flush=True)
        if 0 <= options.error_threshold < failed:
            print(f"The run failed: {failed} items failed, {options.error_threshold} are allowed.")
            return 1
    if hasattr(entry, "shutdown"):
        entry.shutdown()
    if options.output_action == "append_row":
        target = options.output / options.append_row_file_name
        target.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return 0


def _inputs(rest: list[str]) -> list[Path]:
    names = [rest[at + 1] for at, word in enumerate(rest) if word.startswith("--input_fds_")]
    return [Path(os.environ[f"AZUREML_DATAREFERENCE_{name}"]) for name in names]


def _files(path: Path) -> list[str]:
    if path.is_file():
        return [str(path)]
    return sorted(str(file) for file in path.rglob("*") if file.is_file())


def _load(script: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("entry_script", script)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _attempt(entry: ModuleType, batch: list[str], tries: int) -> list[str]:
    """The rows of a mini batch; none where it failed each time."""
    for _ in range(tries):
        try:
            result: Any = entry.run(batch)
        except Exception:
            traceback.print_exc()
        else:
            return [str(row) for row in result]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
