"""Copying and deleting files."""

from __future__ import annotations

import shutil
from pathlib import Path

from azure_pipelines_local.matching import find, split_patterns
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs


def _copy(call: Call) -> None:
    source, target = call.path("SourceFolder"), call.path("TargetFolder")
    if not source.is_dir():
        raise TaskFailed(f"the folder {source} does not exist")
    if call.flag("CleanTargetFolder"):
        _refuse_outside(call, target)
        shutil.rmtree(target, ignore_errors=True)
    files = find(source, split_patterns(call.get("Contents", "**")))
    for file in files:
        inside = file.name if call.flag("flattenFolders") else file.relative_to(source)
        made = target / inside
        made.parent.mkdir(parents=True, exist_ok=True)
        if not made.exists() or call.flag("OverWrite"):
            shutil.copy2(file, made, follow_symlinks=False)
    call.say(f"{len(files)} files copied to {target}")


def _refuse_outside(call: Call, folder: Path) -> None:
    # An agent may lose any of its files. A person's machine may not.
    if not call.agent.workspace.holds(folder):
        raise TaskFailed(f"{folder} is outside of the job's folder: nothing there is deleted")


def _delete(call: Call) -> None:
    source = call.path("SourceFolder")
    _refuse_outside(call, source)
    files = (
        find(source, split_patterns(call.get("Contents", "myFileShare"))) if source.is_dir() else []
    )
    for file in files:
        file.unlink()
    call.say(f"{len(files)} files deleted from {source}")


TASKS = (
    Task(
        "CopyFiles@2",
        _copy,
        inputs(
            "SourceFolder",
            "Contents",
            "TargetFolder",
            "CleanTargetFolder",
            "OverWrite",
            "flattenFolders",
        ),
        (("TargetFolder",),),
    ),
    Task("DeleteFiles@1", _delete, inputs("SourceFolder", "Contents"), (("Contents",),)),
)
