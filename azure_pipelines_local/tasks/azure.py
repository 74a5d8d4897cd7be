"""AzureCLI: the script runs, and ``az`` is a stand-in that says so and does nothing in Azure."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from azure_pipelines_local.tasks.scripts import run_file, run_script
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs

_RECORD = "AZ_STAND_IN_RECORD"
_ACCOUNT = {
    "environmentName": "AzureCloud",
    "id": "00000000-0000-0000-0000-000000000000",
    "isDefault": True,
    "name": "simulated subscription",
    "state": "Enabled",
    "tenantId": "00000000-0000-0000-0000-000000000000",
    "user": {"name": "simulated", "type": "servicePrincipal"},
}
_STAND_IN = """\
import json, os, sys
arguments = sys.argv[1:]
with open(os.environ["{record}"], "a", encoding="utf-8") as file:
    file.write(json.dumps(arguments) + "\\n")
print("az is simulated: az " + " ".join(arguments[:2]) + " did nothing in Azure", file=sys.stderr)
if arguments[:2] == ["account", "show"]:
    account = json.loads({account!r})
    options = dict(zip(arguments, arguments[1:]))
    query = options.get("--query")
    value = account.get(query.strip("[]")) if query else account
    plain = options.get("-o", options.get("--output")) in ("tsv", "table")
    print(value if plain and isinstance(value, str) else json.dumps(value, indent=2))
"""


def _azure_cli(call: Call) -> None:
    kind = call.get("scriptType", "bash").lower()
    if kind != "bash":
        raise TaskFailed(f"scripts run in bash here, not {kind}: set scriptType: bash")
    connection = call.get("connectedServiceNameARM")
    login = call.agent.session.connections.get(connection.lower())
    if login is None:
        call.say(f"##[warning]az is simulated: nothing is done with the connection {connection!r}")
    else:
        names = ", ".join(entry.name for entry in login)
        call.say(f"##[warning]az is simulated: the connection {connection!r} sets {names}")
    temporary = call.agent.workspace.temporary
    record = temporary / "az.jsonl"
    record.unlink(missing_ok=True)
    environment = {
        **call.environment,
        **{entry.name: entry.value for entry in login or ()},
        _RECORD: str(record),
        "PATH": f"{_stand_in(temporary)}:{call.environment.get('PATH', '')}",
    }
    if call.flag("addSpnToEnvironment"):
        environment |= {name: "simulated" for name in ("servicePrincipalId", "servicePrincipalKey")}
        environment["tenantId"] = "simulated"
    simulated = Call(call.inputs, environment, call.deadline, call.agent)
    folder = call.path("cwd")
    try:
        if call.get("scriptLocation", "scriptPath").lower() == "inlinescript":
            if not call.get("inlineScript"):
                raise TaskFailed("scriptLocation is inlineScript, and there is no inlineScript")
            strict = call.flag("failOnStandardError")
            run_script(simulated, call.get("inlineScript"), ["bash"], ".sh", folder, strict)
        else:
            file = call.path("scriptPath")
            run_file(simulated, file, ["bash"], call.get("scriptArguments"), folder)
    finally:
        _note(call, record)


def _stand_in(temporary: Path) -> Path:
    """The folder of an ``az`` that only notes how it was called."""
    folder = temporary / "az"
    folder.mkdir(exist_ok=True)
    script = folder / "az.py"
    script.write_text(_STAND_IN.format(record=_RECORD, account=json.dumps(_ACCOUNT)), "utf-8")
    command = folder / "az"
    command.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I {shlex.quote(str(script))} "$@"\n',
        "utf-8",
    )
    command.chmod(0o755)
    return folder


def _note(call: Call, record: Path) -> None:
    if not record.is_file():
        return
    for line in record.read_text("utf-8").splitlines():
        command = shlex.join(["az", *json.loads(line)])
        call.agent.step.az.append(call.agent.session.masker.mask(command))


TASKS = tuple(
    Task(
        f"AzureCLI@{version}",
        _azure_cli,
        inputs(
            "scriptType",
            "scriptLocation",
            "scriptPath",
            "inlineScript",
            "powerShellErrorActionPreference",
            "powerShellIgnoreLASTEXITCODE",
            "addSpnToEnvironment",
            "useGlobalConfig",
            "failOnStandardError",
            "visibleAzLogin",
            "keepAzSessionActive",
            connectedServiceNameARM="azureSubscription",
            scriptArguments="arguments args",
            cwd="workingDirectory",
        ),
        (("connectedServiceNameARM",), ("scriptPath", "inlineScript")),
    )
    for version in (1, 2)
)
