"""One job's agent: it holds the job's variables and folders, and understands what steps print."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from azure_pipelines_local import artifacts, commands, process
from azure_pipelines_local.artifacts import ArtifactError
from azure_pipelines_local.commands import Command
from azure_pipelines_local.predefined import Workspace
from azure_pipelines_local.records import Output, Result, StepRecord
from azure_pipelines_local.session import Session
from azure_pipelines_local.state import copy_whole
from azure_pipelines_local.variables import ReadOnly, Variables

_RANK = [Result.SUCCEEDED, Result.ISSUES, Result.CANCELED, Result.FAILED]


def worse(first: Result, second: Result) -> Result:
    """The worse of two results."""
    return max(first, second, key=_RANK.index)


class Agent:
    """What steps of one job share.

    Attributes:
        outputs: output variables by ``step.variable``.
        path: folders that steps put before PATH.
        after: what is done after the last step if the job succeeded, by its title.
        cancelling: whether the job was cancelled already, and runs the steps that run nevertheless.
    """

    def __init__(self, session: Session, variables: Variables, workspace: Workspace) -> None:
        self.session = session
        self.variables = variables
        self.workspace = workspace
        self.outputs: dict[str, Output] = {}
        self.path: list[str] = []
        self.after: list[tuple[str, Callable[[], None]]] = []
        self.cancelling = session.cancellation.requested
        self.step = StepRecord()
        self.claimed: Result | None = None
        self._groups: list[int] = []
        self._log: TextIO | None = None

    @property
    def sources(self) -> Path:
        """The working directory of steps that name none: the sources, wherever checkout put them."""
        return Path(self.variables.value("System.DefaultWorkingDirectory") or "")

    def stopping(self) -> bool:
        """Whether what runs now has to end."""
        return self.session.cancellation.requested and not self.cancelling

    def begin_step(self, record: StepRecord, log: TextIO) -> None:
        """Output belongs to this step from now on."""
        self.step = record
        self.claimed = None
        self._log = log

    def environment(self, own: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
        """A step's environment.

        Args:
            own: the step's ``env``, with macros filled in.
            base: the environment of this process.
        """
        path = ":".join([*self.path, base.get("PATH", "")])
        return {**base, **self.variables.environment(), "PATH": path, **own}

    def execute(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        deadline: float | None,
        watch_stderr: bool = False,
    ) -> process.Ended:
        """Run a command; its output is printed, kept and understood.

        Raises:
            OSError: the command or the folder does not exist.
        """
        return process.run(
            command,
            folder,
            environment,
            self.emit,
            self.stopping,
            deadline,
            self._groups,
            watch_stderr,
        )

    def wait(self, seconds: float, deadline: float | None) -> bool:
        """Wait; False where the job was cancelled or the deadline came first."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.stopping() or (deadline is not None and time.monotonic() > deadline):
                return False
            time.sleep(min(0.1, max(0.0, until - time.monotonic())))
        return True

    def end_processes(self) -> None:
        """End what steps left running."""
        for group in self._groups:
            process.end_group(group)

    def emit(self, line: str) -> None:
        """A line of output: a command is carried out, everything else is printed and kept."""
        command = commands.parse(line)
        if command is None:
            self.print(line)
            return
        try:
            self._carry_out(command)
        except (ReadOnly, ArtifactError, OSError) as error:
            self.issue("error", f"##vso[{command.name}]: {error}")
            self.claimed = worse(self.claimed or Result.SUCCEEDED, Result.FAILED)

    def print(self, line: str) -> None:
        """Print and keep a line, without secrets."""
        masked = self.session.masker.mask(line)
        if self._log is not None:
            self._log.write(masked + "\n")
        is_debug = masked.startswith("##[debug]")
        if not is_debug or (self.variables.value("System.Debug") or "").lower() == "true":
            self.session.report.output(masked)

    def issue(self, kind: str, text: str) -> None:
        """An error or a warning of the step."""
        self.step.issues.append(f"{kind}: {self.session.masker.mask(text)}")
        for line in text.splitlines() or [""]:
            self.print(f"##[{kind}]{line}")

    def set_variable(
        self, name: str, value: str, secret: bool = False, output: bool = False
    ) -> None:
        """Give a variable a value for the steps that follow.

        Raises:
            ReadOnly: it may not be changed.
        """
        self._set(Command("", {"issecret": str(secret), "isoutput": str(output)}, value), name)

    def _set(self, command: Command, name: str) -> None:
        value, secret = command.message, command.flag("issecret")
        if secret:
            self.session.masker.add(value)
        if not command.flag("isoutput"):
            self.variables.change(name, value, secret=secret, readonly=command.flag("isreadonly"))
            self.print(f"##[debug]{name} = {value}")
            return
        if not self.step.name:
            self.issue("warning", f"output variable {name}: only a step with a name has outputs")
            return
        full = f"{self.step.name}.{name}"
        self.variables.change(full, value, secret=secret, readonly=command.flag("isreadonly"))
        self.outputs[full] = Output(value, secret)
        self.print(f"##[debug]output {full} = {value}")

    def _carry_out(self, command: Command) -> None:
        properties, message = command.properties, command.message
        match command.name:
            case "task.setvariable":
                name = properties.get("variable", "")
                if not name:
                    self.issue("warning", "##vso[task.setvariable] needs variable=NAME")
                    return
                self._set(command, name)
            case "task.setsecret":
                self.session.masker.add(message)
            case "task.logissue":
                kind = "error" if properties.get("type", "").lower() == "error" else "warning"
                self.issue(kind, _placed(properties, message))
            case "task.complete":
                self._complete(properties.get("result", "Succeeded"))
            case "task.setprogress":
                self.print(f"{properties.get('value', '?')}% {message}".rstrip())
            case "task.prependpath":
                self.path.insert(0, message)
            case "task.debug":
                self.print(f"##[debug]{message}")
            case "task.uploadsummary":
                self._keep(message, "summaries")
            case "task.uploadfile" | "task.addattachment" | "build.uploadlog":
                self._keep(message, "files")
            case "artifact.upload":
                name = properties.get("artifactname") or properties.get("containerfolder", "")
                source = self.sources / message
                count = artifacts.publish(source, self.session.artifacts, name, add=True)
                self.print(f"artifact {name}: {count} files")
            case "build.addbuildtag":
                if message not in self.session.record.tags:
                    self.session.record.tags.append(message)
            case "build.updatebuildnumber":
                self.session.record.number = message
                self.session.variables.set("Build.BuildNumber", message)
                self.variables.set("Build.BuildNumber", message)
            case _:
                self.issue("warning", f"##vso[{command.name}] does nothing here")

    def _complete(self, result: str) -> None:
        results = {str(known).lower(): known for known in _RANK}
        claimed = results.get(result.lower())
        if claimed is None:
            self.issue("warning", f"##vso[task.complete] has no result {result!r}")
            return
        self.claimed = worse(self.claimed or Result.SUCCEEDED, claimed)

    def _keep(self, name: str, kind: str) -> None:
        source = self.sources / name.strip()
        if not source.is_file():
            raise OSError(f"{name.strip()} does not exist")
        folder = self.session.folder / kind
        number = len(list(folder.iterdir())) + 1 if folder.is_dir() else 1
        target = folder / f"{number}-{source.name}"
        copy_whole(source, target)
        if kind == "summaries":
            masked = self.session.masker.mask(target.read_text("utf-8", "replace"))
            target.write_text(masked, encoding="utf-8")
            self.session.record.summaries.append(str(target.relative_to(self.session.folder)))


def _placed(properties: Mapping[str, str], message: str) -> str:
    """A message with the place in a source file that it is about."""
    where = properties.get("sourcepath", "")
    if where and properties.get("linenumber"):
        where += f":{properties['linenumber']}"
    code = f" {properties['code']}" if properties.get("code") else ""
    return f"{where}:{code} {message}" if where else message
