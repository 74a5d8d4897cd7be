"""The variables of a scope: those of the pipeline, then of the stage, then of the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azure_pipelines_local.conditions import variables_of, with_all_names
from azure_pipelines_local.expressions import Context, evaluate
from azure_pipelines_local.functions import Arguments, Function, FunctionError
from azure_pipelines_local.model import Group, Runtime, Variable
from azure_pipelines_local.session import Session
from azure_pipelines_local.values import Value, to_number, to_text
from azure_pipelines_local.variables import Variables


def add_definitions(
    variables: Variables,
    definitions: Sequence[Variable | Group],
    names: Mapping[str, Value],
    session: Session,
) -> None:
    """Add variables in the order in which they are written; later ones replace earlier ones and can use them.

    Raises:
        PipelineError: an expression cannot be evaluated.
    """
    for definition in definitions:
        if isinstance(definition, Group):
            for entry in session.groups.entries(definition.name, session.group_names):
                variables.set(entry.name, entry.value, secret=entry.secret)
                if entry.secret:
                    session.masker.add(entry.value)
            continue
        value = definition.value
        if definition.expression is not None:
            value = to_text(evaluated(definition.expression, variables, names, session))
        variables.set(definition.name, value, readonly=definition.readonly)


def evaluated(
    expression: Runtime, variables: Variables, names: Mapping[str, Value], session: Session
) -> Value:
    """The value of a ``$[ ]``.

    Raises:
        PipelineError: it has none.
    """

    def counter(arguments: Arguments) -> Value:
        prefix = to_text(arguments[0])
        seed = to_number(arguments[1]) if len(arguments) > 1 else 0.0
        if seed is None or seed != int(seed):
            raise FunctionError(f"counter: {to_text(arguments[1])!r} is not a whole number")
        return float(session.count(prefix, int(seed)))

    contexts = with_all_names({**names, "variables": variables_of(variables)})
    context = Context(contexts, {"counter": Function(1, 2, counter)})
    return evaluate(expression.tree, context, expression.where)
