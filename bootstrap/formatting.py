"""Another name makes lines longer or shorter: ruff wraps them anew, and flake8 is told the longest."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from functools import lru_cache
from pathlib import Path

from bootstrap.errors import BootstrapError

_LIMIT = re.compile(r"^max-line-length = (\d+)$", re.MULTILINE)
_PATIENCE = 180
"""Seconds to wait for a package."""


def format_code(folder: Path, template: Path) -> bool:
    """Format the code in a folder by the settings of its pyproject.toml.

    Args:
        folder: of the project, or of some of its files.
        template: where its environment and its lock are looked for.

    Returns:
        False where there is no ruff of the locked version and none can be installed.

    Raises:
        BootstrapError: ruff fails.
    """
    ruff = _ruff(template)
    if ruff is None:
        return False
    # Another repository around the project may ignore its folder.
    command = [ruff, "format", "--quiet", "--no-cache", "--no-respect-gitignore"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        raise BootstrapError(f"ruff could not format {folder}: {result.stderr.strip()}")
    return True


@lru_cache(maxsize=None)
def _ruff(template: Path) -> str | None:
    """ruff of the locked version; where there is none, installed until this process ends."""
    pinned = _pinned((template / "requirements.txt").read_text(encoding="utf-8"))
    if (installed := _installed(template, pinned)) is not None:
        return installed
    environment = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, environment, ignore_errors=True)
    return _install(Path(environment), pinned)


def _pinned(requirements: str) -> str:
    """The lines of the lock about ruff, with its hashes."""
    match = re.search(r"^ruff==(?:.*\\\n)*.*\n", requirements, re.MULTILINE)
    if match is None:
        raise BootstrapError("the template's requirements.txt does not hold ruff: run `make lock`")
    return match[0]


def _installed(template: Path, pinned: str) -> str | None:
    places = [Path(sys.executable).parent, *_programs(template / ".venv")]
    candidates = [shutil.which("ruff", path=str(place)) for place in places]
    wanted = "ruff " + pinned.split()[0].split("==")[1]
    for candidate in [*candidates, shutil.which("ruff")]:
        if candidate:
            command = [candidate, "--version"]
            said = subprocess.run(command, capture_output=True, text=True).stdout
            if said.strip() == wanted:
                return candidate
    return None


def _install(environment: Path, pinned: str) -> str | None:
    lines = environment / "ruff.txt"
    lines.write_text(pinned, encoding="utf-8")
    try:
        venv.create(environment / "venv", with_pip=True)
        places = _programs(environment / "venv")
        python = next(filter(None, (shutil.which("python", path=str(place)) for place in places)))
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--retries", "1", "--require-hashes", "-r", str(lines)]
        subprocess.run(command, check=True, timeout=_PATIENCE, capture_output=True)
    except (OSError, StopIteration, subprocess.SubprocessError):
        return None
    return next(filter(None, (shutil.which("ruff", path=str(place)) for place in places)), None)


def _programs(environment: Path) -> list[Path]:
    return [environment / ("Scripts" if os.name == "nt" else "bin")]


def allow_longest_line(folder: Path, name: str) -> None:
    """Let flake8's limit follow texts and comments that hold the name: they are not wrapped.

    Args:
        folder: of the project.
        name: of its package, longer than the template's.
    """
    settings = folder / ".flake8"
    text = settings.read_text(encoding="utf-8")
    match = _LIMIT.search(text)
    if match is None:
        raise BootstrapError("the template's .flake8 has no line `max-line-length = NUMBER`")
    longest = max(
        len(line)
        for path in folder.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if name in line
    )
    if longest > int(match[1]):
        text = _LIMIT.sub(f"max-line-length = {longest}", text)
        settings.write_bytes(text.encode())
