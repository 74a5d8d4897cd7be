"""What changed between two runs: code, parameters, packages, data."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from insurance_claims.errors import ClaimsError
from ml_service.platforms.base import PipelineRun, Platform
from ml_service.platforms.facts import RunFacts, read_facts
from ml_service.source import changed_files, git
from ml_service.why.columns import ColumnChange, changed_columns

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_NONE = "none"
_REASON = "reason"
"""Parameter of pipelines that says why they run, and changes nothing of what they do."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that has another value.

    Attributes:
        name: of it.
        old: value in the earlier run; ``none`` where it had none.
        new: value in the later run; ``none`` where it has none.
    """

    name: str
    old: str
    new: str

    def describe(self) -> str:
        """In one line."""
        return f"{self.name}: {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True)
class DataChange:
    """Another version of a data set was read.

    Attributes:
        version: name of the data set, and its versions.
        columns: that differ by more than chance explains.
    """

    version: Change
    columns: tuple[ColumnChange, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed from one run to another.

    Attributes:
        commits: between them, newest first.
        files: that these commits changed, with lines added and removed.
        uncommitted: files that differed from the commit when the later run was submitted, and not alike in the earlier.
        parameters: of parameters.yml by their paths, and of the pipeline, as ``pipeline.NAME``.
        packages: whose version differs.
        data: sets of which another version was read.
        unknown: what cannot be said, and why.
    """

    commits: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    uncommitted: tuple[str, ...] = ()
    parameters: tuple[Change, ...] = ()
    packages: tuple[Change, ...] = ()
    data: tuple[DataChange, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def all_files(self) -> tuple[str, ...]:
        """Paths that changed, committed or not."""
        return tuple(line.rsplit(" (", 1)[0] for line in (*self.files, *self.uncommitted))


def changes_between(platform: Platform, good: PipelineRun, bad: PipelineRun) -> Changes:
    """What changed from one run to a later one.

    Args:
        platform: that both ran on.
        good: the earlier run.
        bad: the later run.

    Raises:
        PlatformError: what runs were made of cannot be read.
    """
    pipeline = tuple(_differences(_named(good.parameters), _named(bad.parameters)))
    facts = [read_facts(platform.documents, run.id) for run in (good, bad)]
    before, after = facts
    if before is None or after is None:
        without = ", ".join(
            run.id[:8] for run, known in zip((good, bad), facts, strict=True) if known is None
        )
        said = f"code, packages and data of run {without}: nothing was kept when it was submitted"
        return Changes(parameters=pipeline, unknown=(said,))
    commits, files, unknown = _code(before, after)
    data, unread = _data(platform, before, after)
    return Changes(
        commits=commits,
        files=files,
        uncommitted=tuple(line for line in after.uncommitted if line not in before.uncommitted),
        parameters=(*_differences(before.parameters, after.parameters), *pipeline),
        packages=tuple(_differences(before.packages, after.packages)),
        data=data,
        unknown=(*unknown, *unread),
    )


def _named(parameters: Mapping[str, str]) -> dict[str, str]:
    return {f"pipeline.{name}": value for name, value in parameters.items() if name != _REASON}


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    return [
        Change(name, old.get(name, _NONE), new.get(name, _NONE))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _code(
    before: RunFacts, after: RunFacts
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    unknown: tuple[str, ...] = ()
    if before.uncommitted:
        count = len(before.uncommitted)
        unknown = (
            f"the last good run was not of its commit alone: {count} files differed from it",
        )
    if before.commit == after.commit:
        return (), (), unknown
    # They come from documents, and git would take a word that begins with a hyphen for an option.
    if not (_COMMIT.fullmatch(before.commit) and _COMMIT.fullmatch(after.commit)):
        return (), (), (*unknown, "commits: one of the runs was not submitted from a checkout")
    try:
        commits = git("log", "--format=%h %s", f"{before.commit}..{after.commit}").splitlines()
        return tuple(commits), changed_files(before.commit, after.commit), unknown
    except (OSError, subprocess.CalledProcessError):
        short = f"{before.commit[:8]} or {after.commit[:8]}"
        hint = f"commits: {short} is not in this clone: `git fetch`, then ask again"
        return (), (), (*unknown, hint)


def _data(
    platform: Platform, before: RunFacts, after: RunFacts
) -> tuple[tuple[DataChange, ...], tuple[str, ...]]:
    found: list[DataChange] = []
    unknown: list[str] = []
    for name in sorted(before.data.keys() & after.data.keys()):
        old, new = before.data[name], after.data[name]
        if old == new:
            continue
        version = Change(name, f"version {old}", f"version {new}")
        try:
            folders = [platform.data.fetch(platform.data.get(name, str(n))) for n in (old, new)]
            found.append(DataChange(version, changed_columns(*folders)))
        except ClaimsError as error:
            found.append(DataChange(version, ()))
            unknown.append(f"columns of {name}: {error}")
    return tuple(found), tuple(unknown)
