"""The folder in which runs, counters and caches are kept."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.records import Result

SUMMARY = "run.json"


def write_json(path: Path, content: Any) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    os.replace(name, path)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file or folder so that the target is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy-"))
    try:
        made = aside / target.name
        if source.is_dir():
            shutil.copytree(source, made, symlinks=True)
        else:
            shutil.copy2(source, made)
        os.replace(made, target)
    finally:
        shutil.rmtree(aside)


class KeptRun:
    """A run that is kept: its folder and its summary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text("utf-8"))
        except (OSError, ValueError):
            raise PipelineError(f"{folder} is not the folder of a run: no {SUMMARY}") from None

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.summary["id"])

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.summary["result"] in (Result.SUCCEEDED, Result.ISSUES)

    @property
    def artifacts(self) -> Path:
        """The folder with a folder for each artifact."""
        return self.folder / "artifacts"

    def stage(self, name: str) -> dict[str, Any] | None:
        """What is kept of a stage."""
        stages = self.summary["stages"]
        return next((s for s in stages if s["name"].lower() == name.lower()), None)


class State:
    """Everything under one folder, which ignores itself in git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.cache = folder / "cache"
        self.tools = folder / "tools"
        self.agent = folder / "agent"
        self._counters = folder / "counters.json"

    def prepare(self) -> None:
        """Make the folder."""
        self.runs.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")

    def new_run(self) -> tuple[int, Path]:
        """The number and folder of a new run. Two at the same time get different ones."""
        number = max((run for run, _ in self._folders()), default=0) + 1
        while True:
            folder = self.runs / str(number)
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return number, folder

    def kept(self) -> Iterator[KeptRun]:
        """Runs with a summary, newest first."""
        for _, folder in sorted(self._folders(), reverse=True):
            if (folder / SUMMARY).is_file():
                yield KeptRun(folder)

    def _folders(self) -> list[tuple[int, Path]]:
        folders = self.runs.iterdir() if self.runs.is_dir() else ()
        return [(int(folder.name), folder) for folder in folders if folder.name.isdigit()]

    def latest(self, pipeline: str) -> KeptRun | None:
        """The newest run of a pipeline that ended well."""
        name = pipeline.replace("\\", "/").rsplit("/", 1)[-1].lower()
        return next(
            (r for r in self.kept() if r.succeeded and r.summary["pipeline"].lower() == name), None
        )

    def find(self, reference: str) -> KeptRun:
        """A run by its number or folder.

        Raises:
            PipelineError: there is none.
        """
        folder = self.runs / reference if reference.isdigit() else Path(reference)
        return KeptRun(folder.resolve())

    def count(self, pipeline: str, prefix: str, seed: int) -> int:
        """The next value of a counter: the seed at first, then one more each time."""
        with _locked(self.folder / ".lock"):
            try:
                counters = json.loads(self._counters.read_text("utf-8"))
            except FileNotFoundError:
                counters = {}
            key = f"{pipeline}\n{prefix}"
            value = int(counters[key]) + 1 if key in counters else seed
            write_json(self._counters, {**counters, key: value})
        return value

    @contextmanager
    def agent_folder(self, pipeline: str) -> Iterator[Path]:
        """The folder that an agent keeps for a pipeline. One job at a time has it; another one waits."""
        folder = self.agent / pipeline
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            yield folder


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
