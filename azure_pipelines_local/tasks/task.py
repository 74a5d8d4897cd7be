"""What a task is, and what one call of it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from azure_pipelines_local.records import Result

if TYPE_CHECKING:
    from azure_pipelines_local.agent import Agent


class TaskFailed(Exception):
    """A task did not do what it was asked for. The message is printed as the step's error."""

    def __init__(self, message: str, result: Result = Result.FAILED) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a task.

    Attributes:
        inputs: by their canonical names, with macros filled in.
        environment: of the processes that it starts.
        deadline: on the monotonic clock, or None.
    """

    inputs: Mapping[str, str]
    environment: Mapping[str, str]
    deadline: float | None
    agent: Agent

    def get(self, name: str, default: str = "") -> str:
        """An input; the default where it is not given or empty."""
        return self.inputs.get(name) or default

    def flag(self, name: str, default: bool = False) -> bool:
        """An input that is true or false."""
        return self.get(name, str(default)).lower() == "true"

    def number(self, name: str, default: float) -> float:
        """An input that is a number.

        Raises:
            TaskFailed: it is none.
        """
        try:
            return float(self.get(name, str(default)))
        except ValueError:
            raise TaskFailed(f"{name} is a number, not {self.get(name)!r}") from None

    def path(self, name: str, default: str = "") -> Path:
        """An input that is a path, relative to the sources."""
        return self.agent.sources / self.get(name, default)

    def say(self, text: str) -> None:
        """Print a line."""
        self.agent.print(text)

    def warn(self, text: str) -> None:
        """Note a warning."""
        self.agent.issue("warning", text)


@dataclass(frozen=True, slots=True)
class Task:
    """A task.

    Attributes:
        name: with its version, such as ``Bash@3``.
        inputs: other names of each input, by its canonical name.
        required: of each group, one input has to be given.
        public: whether it can be named in YAML; the others stand behind short forms.
        agentless: whether it runs in jobs with ``pool: server``.
    """

    name: str
    run: Callable[[Call], None]
    inputs: Mapping[str, tuple[str, ...]]
    required: tuple[tuple[str, ...], ...] = ()
    public: bool = True
    agentless: bool = False
    canonical: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        names = {name.lower(): name for name in self.inputs}
        names |= {other.lower(): name for name, others in self.inputs.items() for other in others}
        object.__setattr__(self, "canonical", names)


def inputs(*names: str, **aliases: str) -> dict[str, tuple[str, ...]]:
    """Inputs without other names, and inputs with one or more of them, separated by spaces."""
    return {name: () for name in names} | {
        name: tuple(others.split()) for name, others in aliases.items()
    }
