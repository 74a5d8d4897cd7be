"""Is this machine fit to run the project? Each finding that is not well says what to do."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_service.findings import Finding
from ml_service.settings import AzureSettings, Settings, SettingsError, settings
from ml_service.source import SOURCE

_PYTHON = (3, 11)
_DISK_GB = 2.0
_LOCK = SOURCE / "requirements" / "local.txt"
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def examine() -> Sequence[Finding]:
    """Look at everything, in the order in which it is best put right."""
    findings = [python_version(sys.version_info[:2]), packages(_LOCK), dotenv(Path(".env"))]
    try:
        chosen = settings()
    except SettingsError as error:
        return [*findings, Finding("settings", False, str(error), "correct them, see .env.example")]
    checks: list[Callable[[], Finding]] = [
        lambda: state_folder(chosen.home),
        lambda: disk(chosen.home),
        ports,
    ]
    return [*findings, *(check() for check in checks)]


def python_version(version: tuple[int, ...]) -> Finding:
    """Python has to be the one that azureml-core declares."""
    shown = ".".join(str(part) for part in version)
    return Finding(
        "Python",
        version == _PYTHON,
        shown,
        "install Python 3.11, remove .venv and run make again: azureml-core declares no newer one",
    )


def packages(lock: Path) -> Finding:
    """What is installed has to be what the lock says."""
    if not lock.is_file():
        return Finding(
            "packages", False, f"{lock} is missing", "restore it: git checkout requirements"
        )
    wrong = []
    pinned = _PINNED.findall(lock.read_text(encoding="utf-8"))
    for name, version in pinned:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if installed != version:
            wrong.append(f"{name} is {installed}, the lock says {version}")
    detail = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    return Finding(
        "packages",
        not wrong,
        detail or f"{len(pinned)} as in {lock.name}",
        "remove .venv and run make again",
    )


def dotenv(path: Path) -> Finding:
    """Names in .env that nothing reads are most often misspelt."""
    if not path.is_file():
        return Finding(".env", True, "none, so every setting has its default (see .env.example)")
    fields = [*Settings.model_fields.values(), *AzureSettings.model_fields.values()]
    known = {str(field.alias) for field in fields if field.alias}
    names = re.findall(
        r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", path.read_text("utf-8"), re.MULTILINE
    )
    unknown = sorted(set(names) - known)
    return Finding(
        ".env",
        not unknown,
        f"nothing reads {', '.join(unknown)}" if unknown else f"{len(names)} settings",
        "correct or remove it: .env.example has every name",
    )


def state_folder(home: Path) -> Finding:
    """The state folder can be written, and its database is whole."""
    home = home.absolute()
    parent = next(path for path in (home, *home.parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        return Finding(
            "state", False, f"{parent} cannot be written", "set MLOPS_HOME to a folder of yours"
        )
    database = home / "mlflow.db"
    if database.exists():
        try:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
                (result,) = connection.execute("PRAGMA quick_check").fetchone()
        except sqlite3.DatabaseError as error:
            result = str(error)
        if result != "ok":
            return Finding(
                "state",
                False,
                f"{database} is damaged: {result}",
                "restore it from a backup, or remove it and train again",
            )
    return Finding("state", True, str(home) if home.exists() else f"{home} will be made")


def disk(home: Path) -> Finding:
    """There is room for data, models and their logs."""
    path = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(path).free / 1e9
    return Finding(
        "disk",
        free >= _DISK_GB,
        f"{free:.1f} GB free at {path}",
        f"free at least {_DISK_GB:g} GB, or set MLOPS_HOME to a larger disk",
    )


def ports() -> Finding:
    """Endpoints listen on free loopback ports."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return Finding(
                "ports", True, f"loopback ports can be opened (tried {server.getsockname()[1]})"
            )
    except OSError as error:
        return Finding(
            "ports",
            False,
            f"no loopback port can be opened: {error}",
            "allow 127.0.0.1 in the firewall",
        )
