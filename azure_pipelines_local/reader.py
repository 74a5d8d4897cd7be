"""What reading a pipeline's parts has in common: every problem is noted, so that a person sees them all at once."""

from __future__ import annotations

from collections.abc import Collection

from azure_pipelines_local.errors import Location, PipelineError, Problem
from azure_pipelines_local.expressions import Vocabulary, parse
from azure_pipelines_local.model import Group, Runtime, Variable
from azure_pipelines_local.values import to_text
from azure_pipelines_local.yaml_source import Mapping, Node, Scalar, Sequence

STATUS_FUNCTIONS = {"always", "canceled", "failed", "succeeded", "succeededOrFailed"}
STEP_CONDITION = Vocabulary.of({"variables", "pipeline"}, STATUS_FUNCTIONS)
JOB_CONDITION = Vocabulary.of(
    {"variables", "dependencies", "stageDependencies", "pipeline"}, STATUS_FUNCTIONS
)
STAGE_CONDITION = Vocabulary.of(
    {"variables", "dependencies", "stageDependencies", "pipeline"}, STATUS_FUNCTIONS
)
VARIABLE = Vocabulary.of(
    {"variables", "dependencies", "stageDependencies", "pipeline"}, {"counter"}
)


class Reader:
    """Takes nodes apart and collects what does not fit.

    Args:
        simulated: tasks that are not known here and are to be passed over, in lower case.
    """

    def __init__(self, simulated: Collection[str] = ()) -> None:
        self.problems: list[Problem] = []
        self.simulated = simulated

    def problem(self, message: str, where: Location) -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(message, where))

    def mapping(self, node: Node, what: str, allowed: Collection[str] | None = None) -> Mapping:
        """The node as a mapping with no other keys than those; an empty one where it is none."""
        if not isinstance(node, Mapping):
            self.problem(f"{what} is a mapping of keys to values", node.where)
            return Mapping((), node.where)
        if allowed is not None:
            for key, _ in node.entries:
                if key.value not in allowed:
                    self.problem(
                        f"{what} has no key {key.value!r}; it has: {', '.join(sorted(allowed))}",
                        key.where,
                    )
        return node

    def items(self, node: Node | None, what: str) -> tuple[Node, ...]:
        """The items of a list; none where there is no list."""
        if node is None or (isinstance(node, Scalar) and node.value in ("", None)):
            return ()
        if not isinstance(node, Sequence):
            self.problem(f"{what} is a list", node.where)
            return ()
        return node.items

    def text(self, node: Mapping, key: str, default: str = "") -> str:
        """A single value as text."""
        found = node.get(key)
        if found is None:
            return default
        if not isinstance(found, Scalar):
            self.problem(f"{key} is a single value", found.where)
            return default
        return to_text(found.value)

    def boolean(self, node: Mapping, key: str, default: str = "false") -> str:
        """A value that is true or false, or a macro that will be one."""
        text = self.text(node, key, default)
        if text.lower() not in ("true", "false") and "$" not in text:
            self.problem(f"{key} is true or false, not {text!r}", _where(node, key))
        return text

    def number(self, node: Mapping, key: str, default: str = "0") -> str:
        """A number that is not negative, or a macro that will be one."""
        text = self.text(node, key, default)
        if not text.replace(".", "", 1).isdigit() and "$" not in text:
            self.problem(f"{key} is a number, not {text!r}", _where(node, key))
            return default
        return text

    def texts(self, node: Node | None, what: str) -> dict[str, str]:
        """A mapping of names to single values."""
        if node is None or (isinstance(node, Scalar) and node.value in ("", None)):
            return {}
        result = {}
        for key, value in self.mapping(node, what):
            if isinstance(value, Scalar):
                result[key] = to_text(value.value)
            else:
                self.problem(f"{key} in {what} is a single value", value.where)
        return result

    def names(self, node: Node | None, what: str) -> tuple[str, ...]:
        """One name, or a list of them."""
        if node is None:
            return ()
        if isinstance(node, Scalar):
            return (to_text(node.value),) if node.value not in ("", None) else ()
        return tuple(
            to_text(item.value) for item in self.items(node, what) if isinstance(item, Scalar)
        )

    def condition(self, node: Mapping, vocabulary: Vocabulary) -> Runtime | None:
        """What ``condition:`` holds, where it is there and not empty."""
        found = node.get("condition")
        text = self.text(node, "condition").strip()
        if found is None or not text:
            return None
        return self.runtime(text, found.where, vocabulary)

    def runtime(self, text: str, where: Location, vocabulary: Vocabulary) -> Runtime | None:
        """An expression that is evaluated during the run; None where it cannot be read."""
        try:
            return Runtime(text, parse(text, where, vocabulary), where)
        except PipelineError as error:
            self.problems.extend(error.problems)
            return None

    def variables(self, node: Node | None) -> tuple[Variable | Group, ...]:
        """The variables of a pipeline, stage or job, in either of the two forms."""
        if isinstance(node, Mapping):
            return tuple(
                self._variable(str(key.value), value, "false", key.where)
                for key, value in node.entries
            )
        return tuple(self._listed(item) for item in self.items(node, "variables"))

    def _listed(self, item: Node) -> Variable | Group:
        entry = self.mapping(item, "a variable", {"name", "value", "readonly", "group"})
        if entry.get("group") is not None:
            if entry.get("name") is not None:
                self.problem("a variable has a name, or it is a group, not both", item.where)
            return Group(self.text(entry, "group"), item.where)
        name = self.text(entry, "name")
        if not name:
            self.problem("a variable needs a name, or a group", item.where)
        value = entry.get("value") or Scalar("", item.where)
        return self._variable(name, value, self.boolean(entry, "readonly"), item.where)

    def _variable(self, name: str, value: Node, readonly: str, where: Location) -> Variable:
        if not isinstance(value, Scalar):
            self.problem(
                f"variable {name} is a single value: only parameters hold lists and mappings",
                value.where,
            )
            return Variable(name, "", None, False, where)
        text = to_text(value.value)
        inside = text.strip()
        expression = None
        if inside.startswith("$[") and inside.endswith("]"):
            expression = self.runtime(inside[2:-1], value.where, VARIABLE)
        return Variable(name, text, expression, readonly.lower() == "true", where)


def _where(node: Mapping, key: str) -> Location:
    found = node.get(key)
    return found.where if found else node.where
