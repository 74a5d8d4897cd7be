"""What the code is: its content, its commit, its lock."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import insurance_claims

SOURCE = Path(insurance_claims.__file__).parent.parent
"""The folder that steps run in: the one that holds the model package."""

_PACKAGE = SOURCE / "insurance_claims"
_LOCK = SOURCE / "requirements.txt"


def source_sha256() -> str:
    """SHA-256 of the model package's files: what a step's result depends on besides its inputs."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in (".py", ".yml") and path.is_file():
            digest.update(f"{path.relative_to(SOURCE)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def lock_sha256() -> str:
    """SHA-256 of requirements.txt; empty where the package is used without it."""
    return hashlib.sha256(_LOCK.read_bytes()).hexdigest() if _LOCK.is_file() else ""


def git_commit() -> str:
    """The commit, with ``-dirty`` behind it where files differ from it; ``unknown`` outside a checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}-dirty" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=SOURCE, check=True, capture_output=True, text=True
    ).stdout.strip()
