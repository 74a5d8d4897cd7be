"""git, as a new project needs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bootstrap.errors import BootstrapError

_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
"""Set where git itself runs a program, and about another repository then."""


def run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder.

    Raises:
        BootstrapError: there is no git.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise BootstrapError("git was not found: install it") from None


def git(folder: Path, *arguments: str) -> str:
    """What git prints.

    Raises:
        BootstrapError: with git's reason.
    """
    result = run_git(folder, *arguments)
    if result.returncode != 0:
        reason = " ".join((result.stderr or result.stdout).split())
        raise BootstrapError(f"git {arguments[0]} failed in {folder}: {reason}")
    return result.stdout


def git_or_none(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or is not there."""
    try:
        return git(folder, *arguments)
    except BootstrapError:
        return None


def why_no_commit(folder: Path) -> str | None:
    """Why no commit can be made on this machine, and what to do; None where one can."""
    if git_or_none(folder, "--version") is None:
        return "git was not found: install it"
    # git would make an identity up of the machine's name.
    if git_or_none(folder, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT") is None:
        return (
            "git does not know who you are: git config --global user.name NAME; "
            "git config --global user.email ADDRESS"
        )
    return None


def stage(folder: Path, executable: list[str]) -> None:
    """Stage everything in a work tree, ignored or not, with the bit that some file systems do not keep."""
    git(folder, "add", "--all", "--force")
    if executable:
        git(folder, "update-index", "--chmod=+x", "--", *executable)


def commit(folder: Path, message: str) -> None:
    """Commit what is staged. Hooks are for a person's commits."""
    git(folder, "commit", "--quiet", "--no-verify", "--message", message)
