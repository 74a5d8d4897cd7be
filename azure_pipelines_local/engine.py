"""From a request to a run: what the commands share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from azure_pipelines_local import predefined
from azure_pipelines_local.approval import Approval
from azure_pipelines_local.build_number import build_number
from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.functions import plain
from azure_pipelines_local.groups import read_connections, read_groups
from azure_pipelines_local.masking import Masker
from azure_pipelines_local.model import Pipeline, Variable
from azure_pipelines_local.predefined import RunFacts
from azure_pipelines_local.process import Cancellation
from azure_pipelines_local.read_pipeline import read_pipeline
from azure_pipelines_local.records import Result, RunRecord
from azure_pipelines_local.references import all_defined, defined_names, used_names
from azure_pipelines_local.report import Report
from azure_pipelines_local.repository import find_root, read_repository
from azure_pipelines_local.runner import PipelineRun
from azure_pipelines_local.selection import choose_resources, choose_stages, resource_variables
from azure_pipelines_local.session import Session
from azure_pipelines_local.state import KeptRun, State
from azure_pipelines_local.templates import Expanded, expand

STATE_FOLDER = ".azure-pipelines-local"


@dataclass(frozen=True, slots=True)
class Request:
    """What to run, and how.

    Attributes:
        root: the repository; where it is None, the working tree that the file is in.
        work: the folder for what is kept; where it is None, one in the repository.
        name: under which the run is kept; the file's name where it is empty.
        values: a file with the values of variable groups.
        stages: to run; all where there is none.
        resources: runs to take artifacts from, by the alias of a pipeline resource.
        simulated: tasks that are not known here and are passed over.
        connections: files with what stands for the login of service connections, by name.
    """

    file: Path
    root: Path | None = None
    work: Path | None = None
    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    values: Path | None = None
    stages: Sequence[str] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    simulated: Sequence[str] = ()
    connections: Mapping[str, str] = field(default_factory=dict)
    approve: bool = False
    keep: bool = False
    self_hosted: bool = False

    @property
    def pipeline_name(self) -> str:
        """Under which the run is kept."""
        return self.name or self.file.name.removesuffix(self.file.suffix)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline that can be run."""

    expanded: Expanded
    pipeline: Pipeline
    facts: RunFacts
    state: State


def load(request: Request) -> Loaded:
    """Expand and read a pipeline.

    Raises:
        PipelineError: it does not fit; says where.
    """
    expanded, facts, state = expand_request(request)
    simulated = {name.lower() for name in request.simulated}
    pipeline = read_pipeline(expanded.root, request.file.resolve(), simulated)
    return Loaded(expanded, pipeline, facts, state)


def expand_request(request: Request) -> tuple[Expanded, RunFacts, State]:
    """Expand a pipeline.

    Raises:
        PipelineError: a template or expression does not fit.
    """
    if not request.file.is_file():
        raise PipelineError(f"there is no file {request.file}")
    root = (request.root or find_root(request.file)).resolve()
    if not root.is_dir():
        raise PipelineError(f"there is no folder {root}")
    state = State((request.work or root / STATE_FOLDER).resolve())
    start = datetime.now(UTC)
    facts = RunFacts(0, request.pipeline_name, start, read_repository(root), state.tools)
    known = _overridden(predefined.at_queue_time(facts), request.variables)
    expanded = expand(request.file.resolve(), root, request.parameters, known, start)
    return expanded, facts, state


def _overridden(values: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    lower = {name.lower() for name in changes}
    return {**{k: v for k, v in values.items() if k.lower() not in lower}, **changes}


def run(request: Request, report: Report) -> RunRecord:
    """Run a pipeline to its end.

    Raises:
        PipelineError: it cannot be begun: it does not fit, or what it needs is not there. Nothing is kept then.
    """
    loaded = load(request)
    loaded.state.prepare()
    resources = choose_resources(loaded.pipeline, loaded.state, request.resources)
    name = loaded.facts.pipeline
    chosen, base = choose_stages(loaded.pipeline, name, loaded.state, request.stages)
    session = _session(request, loaded, report, resources, base)
    record = session.record
    report.line(f"run {record.id} of {record.pipeline}: {record.number}", "bold")
    _explain(report, request, loaded, base)
    record.begin()
    session.save()
    result = Result.CANCELED
    try:
        with _interruptible(session.cancellation):
            result = PipelineRun(session, loaded.pipeline, chosen).run()
    except KeyboardInterrupt:
        report.line("stopped at once", "magenta")
    finally:
        record.end(result)
        session.save()
    report.tree(record)
    report.line(f"kept in {session.folder}", "dim")
    return record


def _session(
    request: Request,
    loaded: Loaded,
    report: Report,
    resources: dict[str, KeptRun],
    base: KeptRun | None,
) -> Session:
    groups = read_groups(request.values)
    connections = read_connections(request.connections)
    masker = Masker()
    for entry in (entry for entries in connections.values() for entry in entries):
        if entry.secret:
            masker.add(entry.value)
    number, folder = loaded.state.new_run()
    old = loaded.facts
    facts = RunFacts(number, old.pipeline, old.start, old.repository, old.tools)
    variables = predefined.of_run(facts)
    for alias, kept in resources.items():
        for name, value in resource_variables(kept).items():
            variables.set(f"resources.pipeline.{alias}.{name}", value)
    for name, value in request.variables.items():
        variables.set(name, value)
    static = variables.copy()
    for definition in loaded.pipeline.variables:
        if isinstance(definition, Variable) and definition.expression is None:
            static.set(definition.name, definition.value)
    shown = build_number(
        loaded.pipeline.number_format,
        static,
        facts.start,
        lambda prefix: loaded.state.count(facts.pipeline, f"rev {prefix}", 1),
    )
    variables.set("Build.BuildNumber", shown)
    cancellation = Cancellation()
    wanted = used_names(loaded.expanded.root)
    defined = all_defined(loaded.pipeline) | {entry.name.lower() for entry in variables}
    return Session(
        facts=facts,
        state=loaded.state,
        folder=folder,
        groups=groups,
        group_names=frozenset(name for name in wanted if name.lower() not in defined),
        masker=masker,
        report=report,
        cancellation=cancellation,
        approve=Approval(request.approve, report, cancellation),
        resources=resources,
        base=base,
        variables=variables,
        record=RunRecord(
            id=number,
            number=shown,
            pipeline=facts.pipeline,
            file=str(request.file),
            branch=variables.value("Build.SourceBranch") or "",
            commit=variables.value("Build.SourceVersion") or "",
            parameters=plain(loaded.expanded.parameters),
        ),
        keep=request.keep,
        self_hosted=request.self_hosted,
        connections=connections,
    )


def _explain(report: Report, request: Request, loaded: Loaded, base: KeptRun | None) -> None:
    if base is not None:
        report.line(f"stages that are left out are taken from run {base.id}", "yellow")
    shadowed = defined_names(loaded.pipeline.variables)
    for name in request.variables:
        if name.lower() in shadowed:
            report.line(
                f"--set {name} changes nothing: the pipeline's own variable of that name comes first",
                "yellow",
            )


@contextmanager
def _interruptible(cancellation: Cancellation) -> Iterator[None]:
    """Ctrl-C cancels the run; a second one stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if cancellation.requested:
            raise KeyboardInterrupt
        cancellation.requested = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
