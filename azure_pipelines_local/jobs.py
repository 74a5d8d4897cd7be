"""Running one job: plain ones, the legs of a matrix, the hooks of a deployment."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from azure_pipelines_local import predefined
from azure_pipelines_local.agent import Agent
from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.model import (
    HOOKS,
    NAME,
    ON_FAILURE,
    ON_SUCCESS,
    Deployment,
    Job,
    Runtime,
    Stage,
    Step,
)
from azure_pipelines_local.predefined import Workspace
from azure_pipelines_local.records import JobRecord, Output, Result, combined
from azure_pipelines_local.scopes import add_definitions, evaluated
from azure_pipelines_local.session import Session
from azure_pipelines_local.steps import Progress, run_after, run_steps
from azure_pipelines_local.values import Value, to_text
from azure_pipelines_local.variables import Variables

_DOWNLOADS = {
    "Download@1",
    "DownloadPipelineArtifact@2",
    "DownloadBuildArtifacts@0",
    "DownloadBuildArtifacts@1",
}


class JobRun:
    """One job in a run.

    Args:
        variables: of the pipeline and the stage.
        names: what expressions see of jobs and stages before it.
        record: gets the steps, outputs and result.
    """

    def __init__(
        self,
        session: Session,
        stage: Stage,
        job: Job,
        variables: Variables,
        names: Mapping[str, Value],
        record: JobRecord,
    ) -> None:
        self._session = session
        self._stage = stage
        self._job = job
        self._variables = variables
        self._names = names
        self._record = record

    def run(self) -> None:
        """Run it. The record has the result afterwards.

        Raises:
            PipelineError: a variable or a matrix cannot be made out.
        """
        if self._job.deployment is not None:
            result, reason = self._deploy(self._job.deployment)
        else:
            result, reason = self._run_legs()
        if result is Result.FAILED and self._flag(self._job.continue_on_error):
            result, reason = Result.ISSUES, "failed, and continueOnError is set"
        self._record.end(result, reason)

    def _run_legs(self) -> tuple[Result, str]:
        results = []
        reason = ""
        legs = self._legs()
        for position, (leg, values) in enumerate(legs, 1):
            with self._workspace(leg) as workspace:
                variables = self._scope(leg, (position, len(legs)), workspace, values)
                progress = self._progress(variables)
                agent = Agent(self._session, variables, workspace)
                title = f"{leg}: " if leg else ""
                self._run(agent, self._job.steps, progress, self._logs(leg), title, leg)
            results.append(progress.status)
            reason = reason or progress.reason
        return combined(results), reason

    def _legs(self) -> list[tuple[str, Mapping[str, str]]]:
        matrix = self._job.matrix
        if isinstance(matrix, Runtime):
            matrix = self._computed(matrix)
        if matrix is not None:
            return list(matrix.items()) or [("", {})]
        copies = int(self._number(self._job.parallel or "1"))
        if copies <= 1:
            return [("", {})]
        return [(f"{self._job.name}{number}", {}) for number in range(1, copies + 1)]

    def _computed(self, matrix: Runtime) -> dict[str, dict[str, str]]:
        value = evaluated(matrix, self._variables, self._names, self._session)
        try:
            legs = json.loads(to_text(value))
            found = {
                str(leg): {str(name): str(item) for name, item in values.items()}
                for leg, values in legs.items()
            }
        except (ValueError, AttributeError):
            raise PipelineError(
                f"the matrix is not JSON of the form {{leg: {{name: value}}}}: {to_text(value)!r}",
                matrix.where,
            ) from None
        for leg in found:
            if not NAME.fullmatch(leg):
                raise PipelineError(
                    f"a leg's name holds letters, digits and _, not {leg!r}", matrix.where
                )
        return found

    def _deploy(self, deployment: Deployment) -> tuple[Result, str]:
        progress = self._progress(self._variables)
        with self._workspace("") as workspace:
            good = all(
                self._hook(deployment, hook, increment, workspace, progress)
                for increment, hook in _rounds(deployment)
            )
            # A cancelled deployment ends as it is: neither of the endings is meant for it.
            if progress.status is not Result.CANCELED:
                ending = ON_SUCCESS if good else ON_FAILURE
                self._hook(deployment, ending, "", workspace, progress)
        return progress.status, progress.reason

    def _hook(
        self,
        deployment: Deployment,
        hook: str,
        increment: str,
        workspace: Workspace,
        progress: Progress,
    ) -> bool:
        """Run one hook, which is a job of its own. True where it succeeded, or there is no such hook."""
        steps = deployment.hooks.get(hook)
        if steps is None:
            return True
        variables = self._scope("", (1, 1), workspace, {})
        variables.set("Environment.Name", variables.expand(deployment.environment))
        variables.set("Environment.ResourceName", variables.expand(deployment.resource))
        variables.set("Strategy.Name", deployment.strategy)
        variables.set("Strategy.CycleName", hook)
        variables.set(
            "Strategy.Action",
            "reject" if hook == ON_FAILURE else "promote" if hook == ON_SUCCESS else "deploy",
        )
        if increment:
            variables.set("Strategy.Increment", increment)
        if hook == "deploy" and not any(step.task in _DOWNLOADS for step in steps):
            steps = (*self._downloads(), *steps)
        name = f"{hook}_{increment}" if increment else hook
        own = Progress(progress.deadline, progress.cancel_seconds)
        agent = Agent(self._session, variables, workspace)
        prefixes = _output_prefixes(self._job, deployment, name)
        self._run(agent, steps, own, self._logs(name), f"{name}: ", *prefixes)
        self._merge(progress, own)
        return own.status.good

    def _merge(self, progress: Progress, own: Progress) -> None:
        progress.status = combined([progress.status, own.status])
        progress.reason = progress.reason or own.reason
        progress.deadline = own.deadline

    def _downloads(self) -> list[Step]:
        """What a deploy hook does first, unless it says what it downloads."""
        sources = ["current", *self._session.resources]
        return [
            Step.injected("Download@1", f"download {source}", {"source": source}, self._job.where)
            for source in sources
        ]

    def _run(
        self,
        agent: Agent,
        steps: Sequence[Step],
        progress: Progress,
        logs: Path,
        title: str,
        *prefixes: str,
    ) -> None:
        """Run steps on an agent, and what they asked to be done afterwards. Outputs get the prefixes."""
        try:
            run_steps(agent, steps, progress, logs, title)
            run_after(agent, progress, logs, title)
        finally:
            agent.end_processes()
            self._record.steps += progress.records
            for name, output in agent.outputs.items():
                for prefix in prefixes or ("",):
                    key = f"{prefix}.{name}" if prefix else name
                    self._record.outputs[key] = Output(output.value, output.secret)

    def _scope(
        self,
        leg: str,
        position: tuple[int, int],
        workspace: Workspace,
        values: Mapping[str, str],
    ) -> Variables:
        variables = self._variables.copy()
        predefined.add_job(
            variables,
            (self._stage.name, self._stage.display_name),
            (self._job.name, self._job.display_name),
            leg,
            position,
            workspace,
        )
        add_definitions(variables, self._job.variables, self._names, self._session)
        for name, value in values.items():
            variables.set(name, value)
        return variables

    def _progress(self, variables: Variables) -> Progress:
        minutes = self._number(self._job.timeout_minutes)
        deadline = time.monotonic() + 60 * minutes if minutes else None
        return Progress(deadline, 60 * self._number(self._job.cancel_minutes))

    @contextmanager
    def _workspace(self, leg: str) -> Iterator[Workspace]:
        with ExitStack() as stack:
            if self._session.self_hosted:
                kept = self._session.state.agent_folder(self._session.facts.pipeline)
                workspace = Workspace(stack.enter_context(kept))
            else:
                name = ".".join(part for part in (self._stage.name, self._job.name, leg) if part)
                workspace = Workspace(self._session.folder / "work" / name)
            workspace.make()
            try:
                yield workspace
            finally:
                shutil.rmtree(workspace.temporary, ignore_errors=True)
                if not self._session.keep and not self._session.self_hosted:
                    shutil.rmtree(workspace.folder, ignore_errors=True)

    def _logs(self, part: str) -> Path:
        return self._session.folder / "logs" / self._stage.name / self._job.name / part

    def _flag(self, text: str) -> bool:
        return self._variables.expand(text).lower() == "true"

    def _number(self, text: str) -> float:
        filled = self._variables.expand(text)
        try:
            return float(filled)
        except ValueError:
            raise PipelineError(f"{filled!r} is not a number", self._job.where) from None


def _rounds(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """The hooks of a deployment in order, each with the increment of the canary that it belongs to."""
    yield "", HOOKS[0]
    increments = deployment.increments if deployment.strategy == "canary" else ()
    for increment in increments or ("",):
        for hook in HOOKS[1:]:
            yield increment, hook


def _output_prefixes(job: Job, deployment: Deployment, hook: str) -> tuple[str, ...]:
    """What leads the name of an output: the job in runOnce, the hook in a canary, both with a resource."""
    if deployment.strategy == "runOnce":
        with_resource = (f"{hook}_{deployment.resource}",) if deployment.resource else ()
        return (job.name, *with_resource)
    if deployment.strategy == "rolling" and deployment.resource:
        return (f"{hook}_{deployment.resource}",)
    return (hook,)
