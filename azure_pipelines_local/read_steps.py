"""Steps: the short forms become calls of the tasks that Azure Pipelines turns them into."""

from __future__ import annotations

from azure_pipelines_local.errors import Location
from azure_pipelines_local.model import NAME, Step
from azure_pipelines_local.reader import STEP_CONDITION, Reader
from azure_pipelines_local.tasks.registry import SIMULATED, TASKS, Task
from azure_pipelines_local.yaml_source import Mapping, Node, Scalar

_COMMON = {
    "name",
    "displayName",
    "condition",
    "continueOnError",
    "enabled",
    "env",
    "timeoutInMinutes",
    "retryCountOnTaskFailure",
    "target",
}
_SCRIPT = {"workingDirectory": "workingDirectory", "failOnStderr": "failOnStderr"}
_CHECKOUT = {
    name: name
    for name in (
        "clean",
        "fetchDepth",
        "fetchFilter",
        "fetchTags",
        "lfs",
        "path",
        "persistCredentials",
        "submodules",
        "sparseCheckoutDirectories",
        "sparseCheckoutPatterns",
    )
}
_POWERSHELL = {
    **_SCRIPT,
    "errorActionPreference": "errorActionPreference",
    "ignoreLASTEXITCODE": "ignoreLASTEXITCODE",
}
# Short form: its task, the input that its value becomes, and its keys with the inputs that they become.
_SHORT: dict[str, tuple[str, str, dict[str, str]]] = {
    "script": ("CmdLine@2", "script", _SCRIPT),
    "bash": ("Bash@3", "script", _SCRIPT),
    "pwsh": ("PowerShell@2", "script", _POWERSHELL),
    "powershell": ("PowerShell@2", "script", _POWERSHELL),
    "checkout": ("Checkout@1", "repository", _CHECKOUT),
    "publish": ("PublishPipelineArtifact@1", "targetPath", {"artifact": "artifact"}),
    "download": (
        "Download@1",
        "source",
        {"artifact": "artifact", "patterns": "patterns", "path": "path"},
    ),
}
_FIXED = {
    "bash": {"targetType": "inline"},
    "pwsh": {"targetType": "inline", "pwsh": "true"},
    "powershell": {"targetType": "inline"},
}
_NOT_LOCAL = {"getPackage", "reviewApp", "upload"}


def read_steps(reader: Reader, node: Node | None) -> tuple[Step, ...]:
    """The steps of a job or hook. What does not fit is noted in the reader."""
    steps = []
    names: set[str] = set()
    for item in reader.items(node, "steps"):
        step = _step(reader, item)
        if step is None:
            continue
        if step.name:
            if step.name.lower() in names:
                reader.problem(f"a second step is called {step.name!r}", item.where)
            names.add(step.name.lower())
        steps.append(step)
    return tuple(steps)


def _step(reader: Reader, item: Node) -> Step | None:
    entry = reader.mapping(item, "a step")
    keys = {str(key.value) for key, _ in entry.entries}
    if not keys:
        return None
    if found := keys & _NOT_LOCAL:
        reader.problem(f"{found.pop()} steps need Azure DevOps: they cannot run here", item.where)
        return None
    kinds = [kind for kind in ("task", *_SHORT) if kind in keys]
    if len(kinds) != 1:
        known = ", ".join(("task", *_SHORT))
        problem = f"is both {' and '.join(kinds)}" if kinds else f"is none of: {known}"
        reader.problem(f"this step {problem}", item.where)
        return None
    kind = kinds[0]
    if kind == "task":
        return _task_step(reader, entry)
    task, main, others = _SHORT[kind]
    reader.mapping(entry, f"a {kind} step", {kind, *_COMMON, *others})
    inputs = {main: reader.text(entry, kind), **_FIXED.get(kind, {})}
    inputs |= {
        name: reader.text(entry, key) for key, name in others.items() if entry.get(key) is not None
    }
    title = _title(kind, inputs)
    return _common(reader, entry, task, inputs, title)


def _task_step(reader: Reader, entry: Mapping) -> Step | None:
    reader.mapping(entry, "a task step", {"task", "inputs", *_COMMON})
    name = reader.text(entry, "task")
    where = _line(entry, "task")
    task = TASKS.get(name.lower())
    if task is None and name.lower() in reader.simulated:
        return _common(reader, entry, SIMULATED, {"task": name}, name)
    if task is None or not task.public:
        reader.problem(_unknown(name), where)
        return None
    inputs = _inputs(reader, task, entry, where)
    return _common(reader, entry, task.name, inputs, task.name.split("@")[0])


def _unknown(name: str) -> str:
    base = name.lower().split("@")[0]
    public = [task.name for task in TASKS.values() if task.public]
    versions = [known for known in public if known.lower().split("@")[0] == base]
    if versions:
        return (
            f"the task {name!r} is not known here in this version; there is: {', '.join(versions)}"
        )
    return (
        f"the task {name!r} is not known here; there is: {', '.join(sorted(public))}. "
        f"`--simulate {name}` passes it over"
    )


def _inputs(reader: Reader, task: Task, entry: Mapping, where: Location) -> dict[str, str]:
    canonical = task.canonical
    result: dict[str, str] = {}
    given = entry.get("inputs")
    is_empty = given is None or (isinstance(given, Scalar) and given.value in ("", None))
    inputs = Mapping((), where) if is_empty or given is None else reader.mapping(given, "inputs")
    texts = reader.texts(inputs, "inputs")
    for key, _ in inputs.entries:
        name = str(key.value)
        if name.lower() not in canonical:
            has = ", ".join(sorted(task.inputs))
            reader.problem(f"{task.name} has no input {name!r}; it has: {has}", key.where)
        elif name in texts:
            result[canonical[name.lower()]] = texts[name]
    for group in task.required:
        if not any(result.get(name) for name in group):
            reader.problem(f"{task.name} needs the input {' or '.join(group)}", where)
    return result


def _common(
    reader: Reader, entry: Mapping, task: str, inputs: dict[str, str], title: str
) -> Step | None:
    name = reader.text(entry, "name") or None
    if name and not NAME.fullmatch(name):
        reader.problem(
            f"a step's name holds letters, digits and _, not {name!r}", _line(entry, "name")
        )
    return Step(
        task=task,
        name=name,
        display_name=reader.text(entry, "displayName") or title,
        condition=reader.condition(entry, STEP_CONDITION),
        inputs=inputs,
        env=reader.texts(entry.get("env"), "env"),
        enabled=reader.boolean(entry, "enabled", "true"),
        continue_on_error=reader.boolean(entry, "continueOnError"),
        timeout_minutes=reader.number(entry, "timeoutInMinutes"),
        retries=reader.number(entry, "retryCountOnTaskFailure"),
        where=entry.where,
    )


def _title(kind: str, inputs: dict[str, str]) -> str:
    if kind in ("script", "bash", "pwsh", "powershell"):
        lines = [line.strip() for line in inputs["script"].splitlines() if line.strip()]
        first = lines[0] if lines else ""
        return first if len(first) <= 60 else first[:57] + "..."
    value = inputs.get("artifact") or next(iter(inputs.values()))
    return f"{kind} {value}".strip()


def _line(entry: Mapping, key: str) -> Location:
    found = entry.get(key)
    return found.where if found else entry.where
