"""Tasks that run scripts."""

from __future__ import annotations

import shlex
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from azure_pipelines_local.records import Result
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs


def run_command(call: Call, command: Sequence[str], folder: Path, fail_on_stderr: bool) -> None:
    """Run a command to its end.

    Raises:
        TaskFailed: it failed, was cancelled, or took too long.
    """
    if not folder.is_dir():
        raise TaskFailed(f"the working directory {folder} does not exist")
    ended = call.agent.execute(
        command, folder, call.environment, call.deadline, watch_stderr=fail_on_stderr
    )
    if ended.cancelled:
        raise TaskFailed("cancelled", Result.CANCELED)
    if ended.timed_out:
        raise TaskFailed("the time limit was reached: the step and all it had started were ended")
    if ended.exit_code < 0:
        raise TaskFailed(f"ended by signal {-ended.exit_code}")
    if ended.exit_code:
        raise TaskFailed(f"exit code {ended.exit_code}")
    if fail_on_stderr and ended.wrote_errors:
        raise TaskFailed("the script wrote to stderr, and failOnStderr is set")


def run_script(
    call: Call, script: str, shell: Sequence[str], suffix: str, folder: Path, fail_on_stderr: bool
) -> None:
    """Write a script to a file and run it: its text never is on a command line."""
    file = call.agent.workspace.temporary / f"{uuid.uuid4()}{suffix}"
    file.touch(mode=0o600)
    file.write_text(script + "\n", encoding="utf-8")
    try:
        run_command(call, [*shell, str(file)], folder, fail_on_stderr)
    finally:
        file.unlink(missing_ok=True)


def run_file(call: Call, file: Path, shell: Sequence[str], arguments: str, folder: Path) -> None:
    """Run a script that is in the repository."""
    if not file.is_file():
        raise TaskFailed(f"the script {file} does not exist")
    command = [*shell, str(file), *words(arguments)]
    run_command(call, command, folder, call.flag("failOnStderr"))


def words(text: str) -> list[str]:
    """Arguments as a shell would take them apart.

    Raises:
        TaskFailed: a quote is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise TaskFailed(f"{text!r} are no arguments: {error}") from None


def _command_line(call: Call) -> None:
    folder = call.path("workingDirectory")
    run_script(call, call.get("script"), ["bash"], ".sh", folder, call.flag("failOnStderr"))


def _bash(call: Call) -> None:
    folder = call.path("workingDirectory")
    kind = call.get("targetType", "inline" if call.get("script") else "filePath").lower()
    if kind == "inline":
        run_script(call, call.get("script"), ["bash"], ".sh", folder, call.flag("failOnStderr"))
        return
    file = call.path("filePath")
    own = call.path("workingDirectory", str(file.parent))
    run_file(call, file, ["bash"], call.get("arguments"), own)


def _powershell(call: Call) -> None:
    shell = shutil.which("pwsh", path=call.environment.get("PATH"))
    if shell is None:
        raise TaskFailed("PowerShell (pwsh) is not installed: install it, or use bash")
    command = [shell, "-NoLogo", "-NoProfile", "-NonInteractive", "-File"]
    folder = call.path("workingDirectory")
    if call.get("targetType", "filePath").lower() == "inline" or not call.get("filePath"):
        preference = call.get("errorActionPreference", "stop")
        script = f"$ErrorActionPreference = '{preference}'\n{call.get('script')}"
        if not call.flag("ignoreLASTEXITCODE"):
            script += (
                "\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }"
            )
        run_script(call, script, command, ".ps1", folder, call.flag("failOnStderr"))
        return
    run_file(call, call.path("filePath"), command, call.get("arguments"), folder)


def _python(call: Call) -> None:
    interpreter = call.get("pythonInterpreter") or shutil.which(
        "python", path=call.environment.get("PATH")
    )
    command = [interpreter or sys.executable]
    folder = call.path("workingDirectory")
    if call.get("scriptSource", "filePath").lower() == "inline":
        run_script(call, call.get("script"), command, ".py", folder, call.flag("failOnStderr"))
        return
    run_file(call, call.path("scriptPath"), command, call.get("arguments"), folder)


TASKS = (
    Task(
        "CmdLine@2",
        _command_line,
        inputs("script", "failOnStderr", workingDirectory="cwd"),
        (("script",),),
    ),
    Task(
        "Bash@3",
        _bash,
        inputs(
            "targetType",
            "filePath",
            "arguments",
            "script",
            "failOnStderr",
            "bashEnvValue",
            workingDirectory="cwd",
        ),
        (("script", "filePath"),),
    ),
    Task(
        "PowerShell@2",
        _powershell,
        inputs(
            "targetType",
            "filePath",
            "arguments",
            "script",
            "errorActionPreference",
            "failOnStderr",
            "ignoreLASTEXITCODE",
            "pwsh",
            workingDirectory="cwd",
        ),
        (("script", "filePath"),),
    ),
    Task(
        "PythonScript@0",
        _python,
        inputs(
            "scriptSource",
            "scriptPath",
            "script",
            "arguments",
            "pythonInterpreter",
            "failOnStderr",
            workingDirectory="cwd",
        ),
        (("scriptPath", "script"),),
    ),
)
