"""What the code is: its content, its commit, its lock."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import insurance_claims

SOURCE = Path(insurance_claims.__file__).parent.parent
"""The folder that steps run in: the one that holds the model package."""

_PACKAGE = SOURCE / "insurance_claims"
_LOCK = SOURCE / "requirements.txt"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


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


def locked_packages() -> dict[str, str]:
    """Versions of requirements.txt by normalized name; empty where the package is used without it."""
    text = _LOCK.read_text(encoding="utf-8") if _LOCK.is_file() else ""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in _PIN.findall(text)}


def git_commit() -> str:
    """The commit, with ``-dirty`` behind it where files differ from it; ``unknown`` outside a checkout."""
    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}-dirty" if git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def uncommitted() -> tuple[str, ...]:
    """Files that differ from the commit, with lines added and removed, and new files; empty outside a checkout."""
    try:
        new = git("ls-files", "--others", "--exclude-standard").splitlines()
        return (*changed_files("HEAD"), *(f"{path} (new)" for path in new))
    except (OSError, subprocess.CalledProcessError):
        return ()


def changed_files(*commits: str) -> tuple[str, ...]:
    """Files that differ between two commits, or between one and the folder, with lines added and removed.

    Raises:
        subprocess.CalledProcessError: git does not know them, or this is no checkout.
    """
    lines = git("diff", "--numstat", "--no-renames", *commits).splitlines()
    return tuple(
        f"{path} (+{added} -{removed})"
        for added, removed, path in (line.split("\t") for line in lines)
    )


def git(*arguments: str) -> str:
    """What git prints.

    Raises:
        OSError: there is no git.
        subprocess.CalledProcessError: it fails.
    """
    return subprocess.run(
        ["git", *arguments], cwd=SOURCE, check=True, capture_output=True, text=True
    ).stdout.strip()
