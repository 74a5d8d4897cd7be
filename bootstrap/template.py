"""The files of the template: what git tracks, or what its ignore rules leave of a downloaded archive."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import BootstrapError
from bootstrap.git import git_or_none

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        path: from the project's folder, with / between parts.
        content: its bytes; of a symbolic link, where it leads.
        executable: whether it is a program.
        link: whether it is a symbolic link.
    """

    path: str
    content: bytes
    executable: bool = False
    link: bool = False

    @property
    def text(self) -> str | None:
        """The content as text; None where it is something else."""
        if b"\0" in self.content:
            return None
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError:
            return None


def read_template(root: Path = ROOT) -> list[File]:
    """Every file that a new project is made of, sorted by path.

    Raises:
        BootstrapError: a file cannot be read, or there is no template.
    """
    modes = _tracked(root) if (root / ".git").exists() else None
    if modes is None:
        modes = {path: _mode(root / path) for path in _not_ignored(root)}
    try:
        # What is tracked and deleted is on its way out.
        files = [
            _read(root / path, path, mode)
            for path, mode in sorted(modes.items())
            if os.path.lexists(root / path)
        ]
    except OSError as error:
        raise BootstrapError(f"the template cannot be read: {error}") from None
    if not any(file.path == "pyproject.toml" for file in files):
        raise BootstrapError(f"{root} does not hold the template: it has no pyproject.toml")
    return files


def commit_of(root: Path = ROOT) -> str:
    """The template's commit, with ``-dirty`` where files differ from it; ``unknown`` outside a checkout."""
    commit = git_or_none(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if not commit:
        return "unknown"
    dirty = git_or_none(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit.strip()}-dirty" if dirty else commit.strip()


def write_files(files: list[File], folder: Path) -> None:
    """Write files into an empty folder."""
    for file in files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not file.link:
            target.write_bytes(file.content)
            if file.executable:
                target.chmod(target.stat().st_mode | 0o111)
    # Links last: where they cannot be made, as on many a Windows, what they lead to is copied.
    for file in files:
        if file.link:
            target = folder / file.path
            try:
                target.symlink_to(file.content.decode())
            except OSError:
                target.write_bytes((target.parent / file.content.decode()).read_bytes())


def _tracked(root: Path) -> dict[str, str] | None:
    """Path and mode of what git tracks; None where git cannot say."""
    listed = git_or_none(root, "ls-files", "-z", "--stage")
    if not listed:
        return None
    entries = (entry.split("\t", 1) for entry in listed.split("\0") if entry)
    return {path: head.split()[0] for head, path in entries}


def _mode(path: Path) -> str:
    if path.is_symlink():
        return "120000"
    if os.name == "nt":
        with path.open("rb") as file:
            return "100755" if file.read(2) == b"#!" else "100644"
    return "100755" if path.stat().st_mode & stat.S_IXUSR else "100644"


def _read(path: Path, name: str, mode: str) -> File:
    if mode == "120000":
        # A checkout without symbolic links has a file that says where the link leads.
        target = os.readlink(path) if path.is_symlink() else path.read_text(encoding="utf-8")
        return File(name, target.replace(os.sep, "/").encode(), link=True)
    content = path.read_bytes()
    if b"\0" not in content:
        # git keeps line feeds alone, and a checkout on Windows may not.
        content = content.replace(b"\r\n", b"\n")
    return File(name, content, executable=mode == "100755")


def _not_ignored(root: Path) -> Iterator[str]:
    """Paths that the rules of .gitignore leave."""
    rules = [
        line.strip()
        for line in (root / ".gitignore").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    for folder, folders, names in os.walk(root):
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        folders[:] = [
            name for name in folders if name != ".git" and not ignored(f"{prefix}{name}/", rules)
        ]
        # A link to a folder is listed among folders, and is a file of the template.
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (f"{prefix}{name}" for name in links)
        yield from (f"{prefix}{name}" for name in names if not ignored(f"{prefix}{name}", rules))


def ignored(path: str, rules: list[str]) -> bool:
    """Whether the rules of a .gitignore file without ``**`` ignore a path; a folder's ends with /."""
    found = False
    for rule in rules:
        wanted = rule.lstrip("!")
        if wanted.endswith("/") and not path.endswith("/"):
            continue
        wanted, asked = wanted.rstrip("/"), path.rstrip("/")
        if "/" in wanted:
            matches = asked.count("/") == wanted.lstrip("/").count("/") and fnmatch.fnmatchcase(
                asked, wanted.lstrip("/")
            )
        else:
            matches = fnmatch.fnmatchcase(asked.rsplit("/", 1)[-1], wanted)
        if matches:
            found = not rule.startswith("!")
    return found
