"""What a person sees of a run while it goes on, and at its end."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from azure_pipelines_local.records import (
    JobRecord,
    Result,
    RunRecord,
    StageRecord,
    StepRecord,
    Timed,
)

_STYLES = {
    "##[error]": "bold red",
    "##[warning]": "yellow",
    "##[section]": "green",
    "##[command]": "blue",
    "##[group]": "bold",
    "##[debug]": "magenta",
}
_MARKS = {
    Result.SUCCEEDED: ("ok", "green"),
    Result.ISSUES: ("ok, with issues", "yellow"),
    Result.FAILED: ("FAILED", "bold red"),
    Result.CANCELED: ("cancelled", "magenta"),
    Result.SKIPPED: ("skipped", "dim"),
}


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


class Report:
    """Prints to the terminal. Whoever calls it has masked secrets already."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(
            file=sys.stdout, highlight=False, markup=False, soft_wrap=True, emoji=False
        )

    def line(self, text: str, style: str = "", indent: int = 0) -> None:
        """Print a line of our own."""
        self._console.print(Text(" " * indent + text, style=style))

    def output(self, text: str) -> None:
        """Print a line of a step's output."""
        style = next((style for mark, style in _STYLES.items() if text.startswith(mark)), "")
        self._console.print(Text("      " + text, style=style))

    def began(
        self, what: str, record: StageRecord | JobRecord | StepRecord, detail: str = ""
    ) -> None:
        """A stage, job or step begins."""
        indent = {"stage": 0, "job": 2, "step": 4}[what]
        name = record.display_name or record.name or ""
        self.line(f"{what} {name}{detail}", "bold" if what != "step" else "cyan", indent)

    def ended(self, what: str, record: StageRecord | JobRecord | StepRecord) -> None:
        """A stage, job or step ended, or was skipped."""
        indent = {"stage": 0, "job": 2, "step": 4}[what]
        name = record.display_name or record.name or ""
        self._console.print(_ending(f"{what} {name}", record, indent))

    def tree(self, run: RunRecord) -> None:
        """The whole run at its end."""
        tree = Tree(_ending(f"{run.pipeline} {run.number}", run))
        for stage in run.stages:
            is_only = stage.name.startswith("__")
            branch = tree if is_only else tree.add(_ending(stage.display_name, stage))
            for job in stage.jobs:
                leaf = branch.add(_ending(job.display_name, job))
                for step in job.steps:
                    leaf.add(_ending(step.display_name, step))
        self._console.print(tree)


def _ending(name: str, record: Timed, indent: int = 0) -> Text:
    mark, style = _MARKS[record.result] if record.result else ("not begun", "dim")
    text = Text(" " * indent + name + ": ")
    text.append(mark, style)
    if record.started:
        text.append(f" ({duration(record.seconds)})", "dim")
    if record.reason:
        text.append(f" - {record.reason}", "dim" if record.result is Result.SKIPPED else "")
    return text
