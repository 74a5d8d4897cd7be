"""Conditions: the status functions, and what expressions see of what has run before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from azure_pipelines_local.expressions import Context, evaluate
from azure_pipelines_local.functions import MANY, Arguments, Function
from azure_pipelines_local.model import Runtime
from azure_pipelines_local.records import JobRecord, Result
from azure_pipelines_local.values import Value, to_boolean, to_text, value_of
from azure_pipelines_local.variables import Variables
from azure_pipelines_local.yaml_source import to_node


def step_functions(status: Result, canceled: bool) -> dict[str, Function]:
    """Status functions of a step: they look at the job so far."""
    if canceled:
        status = Result.CANCELED
    return {
        "always": _constant(True),
        "canceled": _constant(status is Result.CANCELED),
        "failed": _constant(status is Result.FAILED),
        "succeeded": _constant(status.good),
        "succeededorfailed": _constant(status.good or status is Result.FAILED),
    }


def graph_functions(before: Mapping[str, Result], canceled: bool) -> dict[str, Function]:
    """Status functions of a job or stage.

    Args:
        before: results of everything that it depends on, directly or through others, by name in lower case.
    """

    def chosen(arguments: Arguments) -> list[Result]:
        names = [to_text(value).lower() for value in arguments]
        if not names:
            return list(before.values())
        return [before.get(name, Result.SKIPPED) for name in names]

    def succeeded(arguments: Arguments) -> Value:
        return not canceled and all(result.good for result in chosen(arguments))

    def failed(arguments: Arguments) -> Value:
        return any(result is Result.FAILED for result in chosen(arguments))

    def succeeded_or_failed(arguments: Arguments) -> Value:
        results = chosen(arguments)
        # Where all that came before was skipped there is nothing that succeeded or failed.
        ran = any(result.good or result is Result.FAILED for result in results)
        return not canceled and (ran or not results)

    return {
        "always": _constant(True),
        "canceled": _constant(canceled),
        "failed": Function(0, MANY, failed),
        "succeeded": Function(0, MANY, succeeded),
        "succeededorfailed": Function(0, MANY, succeeded_or_failed),
    }


def _constant(value: bool) -> Function:
    return Function(0, MANY, lambda _: value)


def holds(
    condition: Runtime | None, names: Mapping[str, Value], functions: Mapping[str, Function]
) -> bool:
    """Whether something runs. Without a condition it does where all before it succeeded.

    Raises:
        PipelineError: the condition cannot be evaluated.
    """
    if condition is None:
        return to_boolean(functions["succeeded"].call(Arguments([])))
    # Every context that may be written has a value: those that do not exist in this place are empty.
    context = Context(with_all_names(names), functions)
    return to_boolean(evaluate(condition.tree, context, condition.where))


def with_all_names(names: Mapping[str, Value]) -> dict[str, Value]:
    """Contexts, with empty ones for those that are not given."""
    empty = {name: None for name in ("variables", "dependencies", "stagedependencies", "pipeline")}
    return {**empty, **names}


def why_not(condition: Runtime | None, before: Mapping[str, Result], canceled: bool) -> str:
    """Why something does not run, for people."""
    if condition is not None:
        return f"condition is false: {' '.join(condition.text.split())}"
    if canceled:
        return "the run was cancelled"
    bad = [f"{name}: {result}" for name, result in before.items() if not result.good]
    return f"not everything before it succeeded ({', '.join(bad)})" if bad else "the job failed"


def job_facts(job: JobRecord) -> dict[str, Any]:
    """A job as ``dependencies`` shows it to the jobs of its stage."""
    outputs = {name: output.value for name, output in job.outputs.items()}
    return {"result": str(job.result), "outputs": outputs}


def stage_facts(result: Result, jobs: Iterable[tuple[str, JobRecord]]) -> dict[str, Any]:
    """A stage as ``dependencies`` shows it to stages."""
    outputs = {
        f"{name}.{output}": value.value
        for name, job in jobs
        for output, value in job.outputs.items()
    }
    return {"result": str(result), "outputs": outputs}


def context_of(facts: Mapping[str, Any]) -> Value:
    """Facts as expressions see them."""
    return value_of(to_node(dict(facts)))


def variables_of(variables: Variables) -> Value:
    """Variables as expressions see them."""
    return variables.context()
