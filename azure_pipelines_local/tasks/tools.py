"""Checkout, Python, waiting and asking."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from azure_pipelines_local.records import Result
from azure_pipelines_local.repository import copy_sources, renew_sources
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs


def _checkout(call: Call) -> None:
    source = call.get("repository", "self")
    if source == "none":
        call.say("no sources are needed")
        return
    if source != "self":
        raise TaskFailed(f"checkout {source!r}: a local run has the repository itself alone")
    workspace = call.agent.workspace
    target = workspace.sources
    if path := call.get("path"):
        target = workspace.folder / path
        if not workspace.holds(target) or target == workspace.folder:
            raise TaskFailed(f"path {path!r} is not inside of the job's folder")
        for name in (
            "Build.SourcesDirectory",
            "Build.Repository.LocalPath",
            "System.DefaultWorkingDirectory",
        ):
            call.agent.variables.set(name, str(target))
    session = call.agent.session
    keeps = session.self_hosted and not call.flag("clean")
    if not keeps:
        shutil.rmtree(target, ignore_errors=True)
    bring = renew_sources if keeps else copy_sources
    copied, unknown = bring(session.repository, target, session.state.folder)
    workspace.sources.mkdir(exist_ok=True)
    call.say(f"{copied} files, with uncommitted changes, from {session.repository.root}")
    if unknown:
        call.warn(f"{unknown} files that git does not know are left out: `git add` takes them in")


_CLAUSE = re.compile(r"(>=|<=|==|>|<|=|~|\^)?\s*(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?")


def version_fits(version: tuple[int, int, int], spec: str) -> bool:
    """Whether a version is in a range such as ``3.x``, ``3.11``, ``>=3.9 <4``.

    Raises:
        TaskFailed: the range cannot be read.
    """
    clauses = spec.split() if re.search(r"[<>=~^]", spec) else [spec.strip()]
    return all(_fits(version, clause) for clause in clauses)


def _fits(version: tuple[int, int, int], clause: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if not match:
        raise TaskFailed(f"{clause!r} is no version range such as 3.11, 3.x or >=3.9")
    given = tuple(int(part) for part in match.groups()[1:] if part and part.isdigit())
    shown = version[: len(given)]
    match match[1]:
        case ">=":
            return shown >= given
        case "<=":
            return shown <= given
        case ">":
            return shown > given
        case "<":
            return shown < given
        case "~":
            return shown[:2] == given[:2] and version >= given
        case "^":
            return shown[:1] == given[:1] and version >= given
        case _:
            return shown == given


def _use_python(call: Call) -> None:
    spec = call.get("versionSpec", "3.x")
    version = sys.version_info[:3]
    shown = ".".join(map(str, version))
    if not version_fits(version, spec):
        raise TaskFailed(
            f"Python {spec} is asked for, and this runs on {shown}: start it with such a Python"
        )
    folder = Path(sys.executable).parent
    if call.flag("addToPath", default=True):
        call.agent.path.insert(0, str(folder))
    call.agent.variables.set("pythonLocation", str(folder))
    if call.agent.step.name:
        call.agent.set_variable("pythonLocation", str(folder), output=True)
    call.say(f"Python {shown} in {folder}")


def _delay(call: Call) -> None:
    if not call.agent.wait(60 * call.number("delayForMinutes", 0), call.deadline):
        stopping = call.agent.stopping()
        result = Result.CANCELED if stopping else Result.FAILED
        raise TaskFailed("cancelled" if stopping else "the time limit was reached", result)


def _validate(call: Call) -> None:
    call.say(call.get("instructions", "Somebody has to look at this before it goes on."))
    if not call.agent.session.approve("this validation"):
        raise TaskFailed("not approved: answer y on a terminal, or run with --approve")


def _simulate(call: Call) -> None:
    call.warn(f"{call.get('task')} is simulated: it did nothing")


SIMULATED = "Simulated@1"
"""What stands in for a task that somebody asked to pass over."""

TASKS = (
    Task(SIMULATED, _simulate, inputs("task"), public=False, agentless=True),
    Task(
        "Checkout@1",
        _checkout,
        inputs("repository", "path"),
        public=False,
    ),
    Task(
        "UsePythonVersion@0",
        _use_python,
        inputs("versionSpec", "addToPath", "architecture", "disableDownloadFromRegistry"),
    ),
    Task("Delay@1", _delay, inputs("delayForMinutes"), (("delayForMinutes",),), agentless=True),
    *(
        Task(
            f"ManualValidation@{version}",
            _validate,
            inputs("notifyUsers", "approvers", "instructions", "onTimeout"),
            agentless=True,
        )
        for version in (0, 1)
    ),
)
