"""What this login may do, against what each task needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ml_service.findings import Finding
from ml_service.platforms.azureml.doctor.asking import Asking, looked

_VERSION = "2022-04-01"
_WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
On = Literal["workspace", "storage account", "Application Insights", "Log Analytics"]


@dataclass(frozen=True, slots=True)
class Need:
    """What a task takes.

    Attributes:
        task: what one wants to do.
        on: the resource that it is done on.
        role: the smallest built-in role that allows it.
        actions: that it consists of, as Azure names them.
        data: whether they are actions on data.
    """

    task: str
    on: On
    role: str
    actions: tuple[str, ...]
    data: bool = False


def _of_workspace(*actions: str) -> tuple[str, ...]:
    return tuple(f"{_WORKSPACES}/{action}" for action in actions)


NEEDS = (
    Need(
        "train",
        "workspace",
        "AzureML Data Scientist",
        _of_workspace(
            *("read", "environments/write", "environments/build/action"),
            *("experiments/runs/write", "experiments/runs/submit/action"),
            *("metadata/artifacts/write", "metadata/snapshots/write"),
            *("modules/write", "endpoints/pipelines/write", "datastores/read"),
        ),
    ),
    Need(
        "register models and data versions",
        "workspace",
        "AzureML Data Scientist",
        _of_workspace("models/read", "models/write", "datasets/registered/write"),
    ),
    Need(
        "deploy",
        "workspace",
        "AzureML Data Scientist",
        _of_workspace(
            *("services/aci/write", "services/aci/delete", "services/aci/listkeys/action"),
            *("services/aks/write", "services/aks/delete", "services/aks/listkeys/action"),
        ),
    ),
    Need(
        "make the training cluster",
        "workspace",
        "AzureML Compute Operator",
        _of_workspace("computes/read", "computes/write"),
    ),
    Need(
        "read and write data",
        "storage account",
        "Storage Blob Data Contributor",
        (f"{_BLOBS}/read", f"{_BLOBS}/write", f"{_BLOBS}/delete"),
        data=True,
    ),
    Need(
        "find where telemetry goes",
        "Application Insights",
        "Reader",
        ("Microsoft.Insights/components/read",),
    ),
    Need(
        "watch rollouts",
        "Log Analytics",
        "Log Analytics Reader",
        (
            "Microsoft.OperationalInsights/workspaces/read",
            "Microsoft.OperationalInsights/workspaces/query/read",
        ),
    ),
)


def permission_findings(ask: Asking, scopes: Mapping[On, str], identity: str) -> Iterable[Finding]:
    """One finding a task.

    Args:
        ask: asks Azure.
        scopes: resource ids; one that is not known is left out.
        identity: object id of who logged in.
    """
    for need in NEEDS:
        if need.on in scopes:
            yield _finding(ask, need, scopes[need.on], identity)
        else:
            yield Finding(
                f"may {need.task}", None, f"not looked at: {need.on} of the workspace is not known"
            )


def lacking(need: Need, permissions: Sequence[Mapping[str, Any]]) -> list[str]:
    """The actions of a task that are not allowed.

    Args:
        need: the task.
        permissions: as Azure lists them, one for each role that was assigned. What one leaves out, another may give.
    """
    given, left_out = ("dataActions", "notDataActions") if need.data else ("actions", "notActions")
    return [
        action
        for action in need.actions
        if not any(
            _matches(item.get(given), action) and not _matches(item.get(left_out), action)
            for item in permissions
        )
    ]


def _finding(ask: Asking, need: Need, scope: str, identity: str) -> Finding:
    what = f"may {need.task}"

    def look() -> Finding:
        held = ask.items(f"{scope}/providers/Microsoft.Authorization/permissions", _VERSION)
        if lacks := lacking(need, held):
            return Finding(what, False, f"not allowed: {', '.join(lacks)}", advice)
        return Finding(what, True, f"on {need.on} {scope.rsplit('/', 1)[-1]}")

    advice = assignment(need.role, scope, identity)
    return looked(what, look, f"{advice}, unless it has the role already")


def assignment(role: str, scope: str, identity: str) -> str:
    """The command that gives a role."""
    return f'`az role assignment create --assignee {identity} --role "{role}" --scope {scope}`'


def _matches(patterns: Iterable[str] | None, action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns or ())


def _pattern(text: str) -> re.Pattern[str]:
    # workspaces/*/read stands for workspaces/read too: AzureML Data Scientist may read the workspace by nothing else.
    expression = re.escape(text).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*")
    return re.compile(expression, re.IGNORECASE)
