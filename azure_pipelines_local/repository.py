"""The repository that a pipeline belongs to, as git knows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azure_pipelines_local.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Repository:
    """A working tree.

    Attributes:
        branch: such as ``refs/heads/main``; empty without git, or between branches.
        commit: of HEAD; empty without git or commits.
    """

    root: Path
    branch: str
    commit: str
    has_git: bool


def find_root(file: Path) -> Path:
    """The working tree that a file is in; its folder where there is no git."""
    top = _git(file.resolve().parent, "rev-parse", "--show-toplevel")
    return Path(top) if top else file.resolve().parent


def read_repository(root: Path) -> Repository:
    """What git says of a folder.

    Raises:
        PipelineError: it is a repository, and git cannot read it.
    """
    has_git = _git(root, "rev-parse", "--is-inside-work-tree") == "true"
    if not has_git and (root / ".git").exists():
        raise PipelineError(f"git cannot read {root}: `git -C {root} status` says why")
    branch = _git(root, "symbolic-ref", "-q", "HEAD") if has_git else ""
    commit = _git(root, "rev-parse", "-q", "--verify", "HEAD") if has_git else ""
    return Repository(root, branch, commit, has_git)


def copy_sources(repository: Repository, target: Path, without: Path) -> tuple[int, int]:
    """Copy the working tree with its uncommitted changes; where there are commits, with a history of its own.

    Args:
        target: a folder that does not exist yet, or is empty.
        without: a folder that is never copied.

    Returns:
        How many files were copied, and how many were left out because git does not know them.

    Raises:
        PipelineError: git fails.
    """
    target.mkdir(parents=True, exist_ok=True)
    if not repository.has_git:
        return _copy_all(repository.root, target, without), 0
    if repository.commit:
        _history(repository, target)
    tracked = _listed(repository.root, "--cached")
    copied = 0
    for name in tracked:
        source = repository.root / name
        # What was deleted but not committed is gone here too. A submodule is a folder: not copied.
        if source.is_symlink() or source.is_file():
            made = target / name
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, made, follow_symlinks=False)
            copied += 1
    unknown = sum(1 for _ in _listed(repository.root, "--others", "--exclude-standard"))
    return copied, unknown


def renew_sources(repository: Repository, target: Path, without: Path) -> tuple[int, int]:
    """Bring the copy of an earlier job up to date, as an agent does that keeps its folders.

    What no checkout brought stays: an environment, say. Arguments and result are those of ``copy_sources``.

    Raises:
        PipelineError: git fails. The earlier copy stays as it is.
    """
    target.mkdir(parents=True, exist_ok=True)
    brought = target.with_name(f"{target.name}.brought")
    with tempfile.TemporaryDirectory(dir=target.parent) as aside:
        fresh = Path(aside) / target.name
        counts = copy_sources(repository, fresh, without)
        names = [str(path.relative_to(fresh)) for path in _files(fresh)]
        for old in brought.read_text("utf-8").split("\0") if brought.exists() else ():
            (target / old).unlink(missing_ok=True)
        shutil.rmtree(target / ".git", ignore_errors=True)
        brought.write_text("\0".join(names), encoding="utf-8")
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / name, target / name)
        if (fresh / ".git").exists():
            os.replace(fresh / ".git", target / ".git")
    return counts


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if inside.parts[0] != ".git" and (path.is_symlink() or path.is_file()):
            yield path


def _history(repository: Repository, target: Path) -> None:
    # A clone that shares nothing that can be changed, and knows no way back: what a step commits or pushes stays in it.
    top = _git(repository.root, "rev-parse", "--show-toplevel")
    if Path(top) != repository.root.resolve():
        return
    for command in (
        ["git", "clone", "--quiet", "--no-checkout", "--", str(repository.root), str(target)],
        ["git", "-C", str(target), "remote", "remove", "origin"],
        ["git", "-C", str(target), "reset", "--quiet"],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        # With nothing checked out, reset lists every file as changed and ends with 1 in some versions of git.
        if result.returncode and "reset" not in command:
            raise PipelineError(f"git could not copy the repository: {result.stderr.strip()}")


def _listed(root: Path, *options: str) -> Iterator[str]:
    shown = subprocess.run(
        ["git", "ls-files", "-z", *options], cwd=root, capture_output=True, text=True
    )
    if shown.returncode:
        raise PipelineError(f"git could not list the files of {root}: {shown.stderr.strip()}")
    return (name for name in dict.fromkeys(shown.stdout.split("\0")) if name)


def _copy_all(root: Path, target: Path, without: Path) -> int:
    copied = 0
    for path in sorted(root.rglob("*")):
        if path.is_relative_to(without) or path.is_relative_to(target):
            continue
        made = target / path.relative_to(root)
        if path.is_dir() and not path.is_symlink():
            made.mkdir(parents=True, exist_ok=True)
        else:
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, made, follow_symlinks=False)
            copied += 1
    return copied


def _git(folder: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
