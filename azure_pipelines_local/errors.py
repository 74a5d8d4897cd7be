"""What can be wrong with a pipeline, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Location:
    """A line of a file. Lines are counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        here = Path.cwd()
        shown = self.file.relative_to(here) if self.file.is_relative_to(here) else self.file
        return f"{shown}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    message: str
    where: Location | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class PipelineError(Exception):
    """A pipeline, or a request to run one, cannot be used. Printed as one line a problem."""

    def __init__(self, message: str, where: Location | None = None) -> None:
        self.problems: tuple[Problem, ...] = (Problem(message, where),)
        super().__init__(str(self.problems[0]))

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> PipelineError:
        """Several problems at once; there is at least one."""
        found = tuple(problems)
        error = cls(found[0].message, found[0].where)
        error.problems = found
        error.args = ("\n".join(map(str, found)),)
        return error
