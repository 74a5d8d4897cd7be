"""Secrets in the files that git tracks, or would, held against the reviewed list ``secrets.yml``.

What looks like a secret and is none has an entry there, by the hash of the text: another secret in the same place is
found all the same.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from environment_setup.security.tools import REVIEWED, ROOT, SecurityError, last_line, run
from insurance_claims.typed_yaml import load_typed

HARMLESS = REVIEWED / "secrets.yml"

_CHECKSUMS = re.compile(
    r"^requirements(/\w+)?\.txt$|^environment_setup/\w+\.txt$|(^|/)package-lock\.json$"
    rf"|/{HARMLESS.name}$"
)
"""Locks and the list itself: thousands of checksums, which look like keys."""


class Harmless(BaseModel):
    """What looks like a secret and is none.

    Attributes:
        file: that has it.
        sha1: of the text, as detect-secrets gives it.
        why: it is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str = Field(min_length=1)
    sha1: str = Field(pattern=r"^[0-9a-f]{40}$")
    why: str = Field(min_length=10)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A text that looks like a secret. The text itself is not kept: it would be in logs then."""

    file: str
    line: int
    kind: str
    sha1: str


def harmless(file: Path = HARMLESS) -> Sequence[Harmless]:
    """The reviewed list.

    Raises:
        SecurityError: it is not what it has to be.
    """
    return load_typed(list[Harmless], file, SecurityError, "a list of harmless texts")


def tracked(folder: Path = ROOT) -> list[str]:
    """The files that git tracks, or would unless somebody leaves them out, but for locks.

    Raises:
        SecurityError: this is no checkout.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise SecurityError(
            f"secrets are looked for in what git tracks: {last_line(listed.stderr)}"
        )
    names = [name for name in listed.stdout.split("\0") if name]
    return [name for name in names if not _CHECKSUMS.search(name) and (folder / name).is_file()]


def scan(program: Path, files: Sequence[str], folder: Path = ROOT) -> list[Suspect]:
    """What looks like a secret. Nobody is asked whether it is one.

    Args:
        program: detect-secrets.
        files: to look at, by their path in ``folder``.
        folder: where they are.

    Raises:
        SecurityError: it did not run.
    """
    result = run(program, "scan", "--no-verify", "--all-files", *files, folder=folder)
    try:
        content = json.loads(result.stdout)["results"]
    except (ValueError, KeyError):
        raise SecurityError(f"{program.name} did not run: {last_line(result.stderr)}") from None
    return [
        Suspect(name, found["line_number"], found["type"], found["hashed_secret"])
        for name, listed in content.items()
        for found in listed
    ]


def problems(found: Sequence[Suspect], entries: Sequence[Harmless]) -> Iterator[str]:
    """Texts without an entry, and entries that nothing needs."""
    known = {(entry.file, entry.sha1) for entry in entries}
    seen = {(item.file, item.sha1) for item in found}
    for item in found:
        if (item.file, item.sha1) not in known:
            yield f"{item.file}:{item.line}: {item.kind} (sha1 {item.sha1})"
    for file, sha1 in sorted(known - seen):
        yield f"{sha1} in {file} is on the list, and nothing has it: remove it"
