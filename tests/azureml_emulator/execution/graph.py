"""A submitted graph as typed objects: which commands, with which arguments, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Refused
from tests.azureml_emulator.services import snapshots

_GRAPH_PARAMETER = ("1", "GraphParameterName")
_INPUT = "DatasetConsumptionConfig:"
_OUTPUT = "DatasetOutputConfig:"
_FAKE = "_run_after"
"""How the SDK's ports begin that give an order and carry nothing."""


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A saved dataset."""

    saved: str


@dataclass(frozen=True, slots=True)
class StepSource:
    """An output of another node."""

    node: str
    output: str


@dataclass(frozen=True, slots=True)
class Input:
    """What a node reads.

    Attributes:
        source: where it comes from.
        mode: ``mount`` or ``download``.
    """

    source: DatasetSource | StepSource
    mode: str


@dataclass(frozen=True, slots=True)
class Output:
    """Where a folder goes that a node writes. ``path`` may hold ``{run-id}`` and ``{output-name}``."""

    datastore: str
    path: str


@dataclass(frozen=True, slots=True)
class Argument:
    """One word of a command: ``kind`` is literal, input or output."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Node:
    """One step.

    Attributes:
        id: in the graph.
        name: of the step.
        snapshot: id of its source.
        command: its first word; empty for a step that runs over mini batches.
        arguments: the other words.
        inputs: by port.
        outputs: by port.
        environment: variables that the client asked for.
        step_type: the SDK's class.
        after: nodes that must have completed.
        allow_reuse: whether an earlier result may stand in for it.
        regenerate: run it whatever there is.
        identity: hash of all that makes it what it is, apart from its inputs.
    """

    id: str
    name: str
    snapshot: str
    command: str
    arguments: tuple[Argument, ...]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    environment: Mapping[str, str]
    step_type: str
    after: frozenset[str]
    allow_reuse: bool
    regenerate: bool
    identity: str


def read_graph(
    workspace: Workspace,
    graph: Mapping[str, Any],
    parameters: Mapping[str, str],
    datasets: Mapping[str, Any],
) -> list[Node]:
    """The nodes of a graph in an order in which they can run.

    Args:
        workspace: that has the modules.
        graph: as the client sent it.
        parameters: value of each graph parameter.
        datasets: definition of each dataset parameter.

    Raises:
        Refused: something is missing, or the steps wait for each other.
    """
    reader = _Reader(workspace, graph, parameters, datasets)
    waiting = {node["Id"]: reader.node(node) for node in graph["ModuleNodes"]}
    ordered: list[Node] = []
    while waiting:
        ready = [node for node in waiting.values() if not node.after & waiting.keys()]
        if not ready:
            raise Refused(400, "UserError", "The graph has a cycle.")
        ordered.append(ready[0])
        del waiting[ready[0].id]
    return ordered


class _Reader:
    def __init__(
        self,
        workspace: Workspace,
        graph: Mapping[str, Any],
        parameters: Mapping[str, str],
        datasets: Mapping[str, Any],
    ) -> None:
        self._workspace = workspace
        self._edges = graph["Edges"]
        self._modules = {node["Id"] for node in graph["ModuleNodes"]}
        self._datasets = {node["Id"]: node for node in graph.get("DatasetNodes") or []}
        self._parameters = parameters
        self._assigned = datasets

    def node(self, content: Mapping[str, Any]) -> Node:
        module = self._workspace.table("modules")[content["ModuleId"]]
        structure = module["StructuredInterface"]
        values = {item["Name"]: self._value(item) for item in content["ModuleParameters"]}
        runconfig = json.loads(content.get("Runconfig") or "{}")
        arguments = tuple(self._argument(item, values) for item in structure["Arguments"])
        outputs = {
            item["Name"]: _output(item) for item in content.get("ModuleOutputSettings") or []
        }
        variables = {
            **(runconfig.get("environment", {}).get("environmentVariables") or {}),
            **(runconfig.get("environmentVariables") or {}),
            **_parameter_variables(structure, values),
        }
        facts = {
            "name": module["Name"],
            "content": snapshots.content_hash(self._workspace, module["StorageId"]),
            "structure": structure,
            "values": values,
            "settings": content.get("ModuleOutputSettings"),
            "runconfig": runconfig,
        }
        edges = [
            edge for edge in self._edges if edge["DestinationInputPort"]["NodeId"] == content["Id"]
        ]
        return Node(
            id=content["Id"],
            name=module["Name"],
            snapshot=module["StorageId"],
            command=values.get("Command") or "",
            arguments=arguments,
            inputs=self._inputs(structure, edges),
            outputs=outputs,
            environment=variables,
            step_type=module.get("StepType") or "",
            after=frozenset(edge["SourceOutputPort"]["NodeId"] for edge in edges) & self._modules,
            allow_reuse=bool(module["IsDeterministic"]),
            regenerate=bool(content.get("RegenerateOutput")),
            identity=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        )

    def _value(self, item: Mapping[str, Any]) -> str:
        value = item.get("Value")
        if str(item.get("ValueType")) in _GRAPH_PARAMETER:
            value = self._parameters.get(str(value))
        return "" if value is None else str(value)

    def _argument(self, item: Mapping[str, Any], values: Mapping[str, str]) -> Argument:
        kind, value = str(item["ValueType"]).lower(), str(item["Value"])
        if kind == "parameter":
            return Argument("literal", values[value])
        if kind == "literal" and value.startswith(_INPUT):
            return Argument("input", value.removeprefix(_INPUT))
        if kind == "literal" and value.startswith(_OUTPUT):
            return Argument("output", value.removeprefix(_OUTPUT))
        return Argument(kind, value)

    def _inputs(
        self, structure: Mapping[str, Any], edges: list[Mapping[str, Any]]
    ) -> dict[str, Input]:
        modes = {item["Name"]: item.get("DataStoreMode") for item in structure.get("Inputs") or []}
        inputs = {}
        for edge in edges:
            port = edge["DestinationInputPort"]["PortName"]
            source = edge["SourceOutputPort"]
            if port.startswith(_FAKE):
                continue
            found: DatasetSource | StepSource
            if source["NodeId"] in self._modules:
                found = StepSource(source["NodeId"], source["PortName"])
            else:
                found = DatasetSource(self._saved(self._datasets[source["NodeId"]]))
            inputs[port] = Input(found, str(modes.get(port) or "mount").lower())
        return inputs

    def _saved(self, node: Mapping[str, Any]) -> str:
        """The id of the saved dataset behind a dataset node."""
        definition = node["DataSetDefinition"]
        value = definition.get("Value") or self._assigned.get(definition.get("ParameterName") or "")
        if value and (saved := (value.get("SavedDataSetReference") or {}).get("Id")):
            return str(saved)
        if value and (reference := value.get("DataSetReference")):
            return self._registered(reference)
        name = definition.get("ParameterName")
        raise Refused(400, "UserError", f"No dataset is assigned to parameter {name}.")

    def _registered(self, reference: Mapping[str, Any]) -> str:
        table = self._workspace.table("datasets")
        for name in table:
            if table[name]["id"] == reference.get("Id") or name == reference.get("Name"):
                number = int(reference.get("Version") or len(table[name]["versions"]))
                return str(table[name]["versions"][number - 1]["saved"])
        raise Refused(404, "UserError", f"There is no dataset {reference.get('Id')}.")


def _output(item: Mapping[str, Any]) -> Output:
    options = item.get("DatasetOutputOptions") or {}
    path = options.get("PathOnDatastore") or "azureml/{run-id}/{output-name}"
    return Output(item["DataStoreName"], path)


def _parameter_variables(structure: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, str]:
    """Variables in which a step also finds the values of its parameters."""
    return {
        item.get("EnvironmentVariableOverride") or item["Name"]: values[item["Name"]]
        for item in structure.get("Parameters") or []
        if item.get("SetEnvironmentVariable") and item["Name"] in values
    }
