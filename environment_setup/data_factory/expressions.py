"""Expressions of Data Factory, ``@concat(pipeline().parameters.file, 'x')``: found in texts, and read as trees.

Source of the syntax: Azure Data Factory, "Expressions and functions". It is that of ARM templates, behind another sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from environment_setup.check.expressions import Access, Call, Literal, Node, parse, walk

_INTERPOLATED = re.compile(r"@\{([^}]*)\}?")
SYSTEM = {
    *("DataFactory", "GroupId", "Pipeline", "RunId", "TriggerId", "TriggerName", "TriggerTime"),
    *("TriggerType", "TriggeredByPipelineName", "TriggeredByPipelineRunId"),
}
"""What pipeline() has beside parameters."""
EVENT = {"fileName", "folderPath"}
"""What triggerBody() has where a blob was the event."""
FUNCTIONS = {
    *("activity", "dataset", "item", "linkedService", "pipeline", "triggerBody", "variables"),
    *("concat", "endsWith", "guid", "indexOf", "lastIndexOf", "replace", "split", "startsWith"),
    *("substring", "toLower", "toUpper", "trim", "contains", "empty", "first", "intersection"),
    *("join", "last", "length", "skip", "take", "union", "and", "equals", "greater", "if", "less"),
    *("greaterOrEquals", "lessOrEquals", "not", "or", "array", "base64", "bool", "coalesce"),
    *("createArray", "float", "int", "json", "string", "uriComponent", "add", "div", "max", "min"),
    *("mod", "mul", "range", "sub", "addDays", "addHours", "addMinutes", "formatDateTime"),
    *("startOfDay", "utcNow"),
}


def expressions(value: Any) -> Iterator[str]:
    """The expressions in a value's texts, without their sign."""
    if isinstance(value, dict):
        for item in value.values():
            yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)
    elif isinstance(value, str):
        if value.startswith("@") and not value.startswith(("@@", "@{")):
            yield value[1:]
        else:
            yield from _INTERPOLATED.findall(value)


def tree(expression: str) -> Node:
    """The tree of an expression.

    Raises:
        TemplateError: it cannot be read.
    """
    return parse(f"[{expression}]")


def names(node: Node) -> Iterator[tuple[str, str]]:
    """What an expression speaks of: ``("parameters", "file")``, ``("activity", "after")``, ``("function", "join")``."""
    for part in walk(node):
        match part:
            case Access(Access(Call("pipeline", ()), Literal(str(kind))), Literal(str(name))):
                yield kind, name
            case Access(Call("pipeline", ()), Literal(str(name))):
                if name not in ("parameters", "globalParameters"):
                    yield "system", name
            case Access(Call("dataset" | "linkedService" | "triggerBody" as of, ()), Literal(key)):
                yield of, str(key)
            case Call("activity" | "variables" as of, (Literal(str(name)),)):
                yield of, name
        if isinstance(part, Call):
            yield "function", part.name
