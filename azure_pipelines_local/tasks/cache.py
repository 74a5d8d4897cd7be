"""Cache@2: a folder that is kept under a key and put back by later runs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azure_pipelines_local.matching import find
from azure_pipelines_local.state import copy_whole, write_json
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs

_QUOTED = re.compile(r'"([^"]*)"')
_KEY = "key.json"


def resolve_key(text: str, folder: Path) -> list[str]:
    """The segments of a key: texts as they are, files by the hash of their content.

    Args:
        text: segments separated by ``|``; one in double quotes is a text, one with wildcards or of an existing file
            stands for the files.

    Raises:
        TaskFailed: no file matches.
    """
    return [_segment(part.strip(), folder) for part in text.split("|") if part.strip()]


def _segment(part: str, folder: Path) -> str:
    if match := _QUOTED.fullmatch(part):
        return match[1]
    patterns = [pattern.strip() for pattern in part.split(",") if pattern.strip()]
    has_wildcard = any(symbol in part for symbol in "*?!")
    if not has_wildcard and not all((folder / pattern).is_file() for pattern in patterns):
        if "/" in part:
            raise TaskFailed(f"the key names the file {part!r}, which does not exist")
        return part
    files = find(folder, patterns)
    if not files:
        raise TaskFailed(f"the key names files {part!r}, and there are none")
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(folder)).encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _cache(call: Call) -> None:
    session, folder = call.agent.session, call.agent.sources
    store = session.state.cache
    key = resolve_key(call.get("key"), folder)
    path = call.path("path")
    exact = _entry(store, key)
    found = exact if (exact / _KEY).is_file() else None
    hit = "true" if found else "false"
    if found is None:
        for line in call.get("restoreKeys").splitlines():
            if line.strip() and (found := _newest(store, resolve_key(line, folder))):
                hit = "inexact"
                break
    if found is not None:
        _restore(found / "content", path)
    call.say({"true": "cache: found", "false": "cache: not found"}.get(hit, "cache: a similar one"))
    if variable := call.get("cacheHitVar"):
        call.agent.variables.set(variable, hit)
    if hit != "true":
        call.agent.after.append((f"keep {path.name}", lambda: _save(exact, key, path, call)))


def _restore(content: Path, path: Path) -> None:
    # Added to what is there, as on an agent: the path may be a folder of the person whose machine this is.
    if content.is_dir():
        shutil.copytree(content, path, symlinks=True, dirs_exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(content, path)


def _save(entry: Path, key: list[str], path: Path, call: Call) -> None:
    if not path.exists():
        call.say(f"cache: {path} does not exist: nothing is kept")
        return
    if not (entry / _KEY).is_file():
        if not (entry / "content").exists():
            copy_whole(path, entry / "content")
        write_json(entry / _KEY, key)
    call.say(f"cache: {path.name} is kept for the next run")


def _entry(store: Path, key: list[str]) -> Path:
    return store / hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]


def _newest(store: Path, start: list[str]) -> Path | None:
    found = [
        (file.stat().st_mtime, file.parent)
        for file, key in _keys(store)
        if key[: len(start)] == start
    ]
    return max(found)[1] if found else None


def _keys(store: Path) -> Iterator[tuple[Path, Any]]:
    for file in store.glob(f"*/{_KEY}"):
        yield file, json.loads(file.read_text("utf-8"))


TASKS = (
    Task(
        "Cache@2",
        _cache,
        inputs("key", "path", "restoreKeys", "cacheHitVar"),
        (("key",), ("path",)),
    ),
)
