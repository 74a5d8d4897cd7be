"""Known vulnerabilities of the packages in the lock, held against the reviewed list ``vulnerabilities.yml``.

A vulnerability that is not on the list is a problem. So is an entry that nothing needs any more, or whose review is
over: nobody looks at a list that only grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from environment_setup.security.tools import LOCK, REVIEWED, SecurityError, last_line, run
from insurance_claims.typed_yaml import load_typed

ACCEPTED = REVIEWED / "vulnerabilities.yml"

# What pip-audit says where its source of vulnerabilities does not answer.
_NO_ANSWER = ("Could not connect", "ConnectionError", "ServiceError", "timed out", "Max retries")


class Unreachable(SecurityError):
    """The source of vulnerabilities does not answer."""


class Accepted(BaseModel):
    """A vulnerability that we live with.

    Attributes:
        id: that pip-audit gives it, or one of its other names.
        package: that has it.
        why: it does not matter here, or what stops it.
        reviewed: when somebody last looked.
        expires: when somebody has to look again, at most a year later.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(min_length=1)
    package: str = Field(min_length=1)
    why: str = Field(min_length=20)
    reviewed: date
    expires: date


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One that a package of the lock has.

    Attributes:
        ids: all names of it, pip-audit's first.
        package: name and version.
        fixed: versions that do not have it.
    """

    ids: tuple[str, ...]
    package: str
    version: str
    fixed: tuple[str, ...]


def accepted(file: Path = ACCEPTED) -> Sequence[Accepted]:
    """The reviewed list.

    Raises:
        SecurityError: it is not what it has to be, or an entry is for longer than a year.
    """
    found = load_typed(list[Accepted], file, SecurityError, "a list of accepted vulnerabilities")
    for entry in found:
        if not 0 < (entry.expires - entry.reviewed).days <= 366:
            raise SecurityError(f"{file}: {entry.id} has to expire within a year of its review")
    return found


def audit(program: Path, lock: Path = LOCK) -> Mapping[str, Any]:
    """What pip-audit finds. It installs nothing.

    Args:
        program: pip-audit.
        lock: a requirements file with hashes.

    Raises:
        Unreachable: its source of vulnerabilities does not answer.
        SecurityError: it did not run.
    """
    options = ["--require-hashes", "--disable-pip", "--aliases", "on", "--desc", "off"]
    options += ["--format", "json", "--progress-spinner", "off"]
    result = run(program, *options, "--requirement", str(lock))
    try:
        report: Mapping[str, Any] = json.loads(result.stdout)
    except ValueError:
        reason = last_line(result.stderr)
        if any(text in result.stderr for text in _NO_ANSWER):
            raise Unreachable(f"vulnerabilities were not looked up: {reason}") from None
        raise SecurityError(f"{program.name} did not run: {reason}") from None
    return report


def vulnerabilities(report: Mapping[str, Any]) -> list[Vulnerability]:
    """What a report of pip-audit lists.

    Raises:
        Unreachable: no package at all was looked up, as where a mirror stands for PyPI.
        SecurityError: it lists no package, or some that were not looked up.
    """
    packages = report["dependencies"]
    if not packages:
        raise SecurityError("pip-audit looked at no package")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        reason = packages[0]["skip_reason"]
        raise Unreachable(f"vulnerabilities of no package could be looked up: {reason}")
    if skipped:
        raise SecurityError(
            f"pip-audit did not look up {', '.join(skipped)}: PyPI does not know them"
        )
    return [
        Vulnerability(
            (found["id"], *found.get("aliases", [])),
            package["name"],
            package["version"],
            tuple(found["fix_versions"]),
        )
        for package in packages
        for found in package["vulns"]
    ]


def problems(
    found: Sequence[Vulnerability], entries: Sequence[Accepted], today: date
) -> Iterator[str]:
    """Vulnerabilities that nobody accepted, and entries that are over or that nothing needs."""
    needed = set()
    for item in found:
        matching = [
            entry for entry in entries if entry.id in item.ids and entry.package == item.package
        ]
        needed.update(matching)
        if not matching:
            fix = f"fixed in {', '.join(item.fixed)}" if item.fixed else "not fixed yet"
            yield f"{item.package} {item.version}: {', '.join(item.ids)}: {fix}"
    for entry in entries:
        if entry not in needed:
            yield f"{entry.id} of {entry.package} is on the list, and nothing has it: remove it"
        elif entry.expires <= today:
            yield f"{entry.id} of {entry.package}: its review expired on {entry.expires}: look again"
