"""Compute targets: the training cluster, reused or made, and the AKS cluster that serves production."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ml_service.platforms.azureml.errors import message, translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PlatformError

_POLL_SECONDS = (0.2, 1.0, 2.0, 5.0)
_LONGEST_SECONDS = 25 * 60
_QUOTA = ("quota", "coresexceeded", "operationnotallowed")


def training_compute(
    ws: AzureWorkspace, log: Log, wait: Callable[[float], None] = time.sleep
) -> Any:
    """The cluster that runs pipelines: reused by name, or made.

    Args:
        ws: the workspace.
        log: gets the progress.
        wait: takes seconds.

    Returns:
        The SDK's ``AmlCompute``.

    Raises:
        PlatformError: the name belongs to something else, quota does not suffice, or Azure refuses.
    """
    return ws.once("training-compute", lambda: _training_compute(ws, log, wait))


def aks_compute(ws: AzureWorkspace) -> Any:
    """The AKS cluster that serves production, as the SDK's ``AksCompute``.

    Raises:
        PlatformError: there is none; says how to get one.
    """
    return ws.once("aks-compute", lambda: _aks_compute(ws))


def _training_compute(ws: AzureWorkspace, log: Log, wait: Callable[[float], None]) -> Any:
    name = ws.azure.compute_name
    found = _find(ws, name)
    if found is not None and found.type != "AmlCompute":
        raise PlatformError(
            f"compute {name} is there already, but of type {found.type}: give the training cluster another name "
            "with AML_COMPUTE_CLUSTER_NAME"
        )
    if found is not None and found.provisioning_state == "Succeeded":
        log(f"compute {name}: reused ({found.vm_size})")
        return found
    if found is None or found.provisioning_state in ("Failed", "Canceled"):
        log(f"compute {name}: making it ({ws.azure.compute_sku}, {_nodes(ws)})")
        found = _create(ws, name)
    return _ready(ws, found, log, wait)


def _create(ws: AzureWorkspace, name: str) -> Any:
    from azureml.core.compute import AmlCompute, ComputeTarget

    azure = ws.azure
    with translated(f"making compute {name}"):
        wanted = AmlCompute.provisioning_configuration(
            vm_size=azure.compute_sku,
            vm_priority=azure.compute_priority,
            min_nodes=azure.compute_min_nodes,
            max_nodes=azure.compute_max_nodes,
            idle_seconds_before_scaledown=azure.compute_idle_seconds,
        )
        try:
            return ComputeTarget.create(ws.workspace, name, wanted)
        except Exception as error:
            if _is_quota(message(error)):
                raise _no_quota(ws, message(error)) from error
            raise


def _ready(ws: AzureWorkspace, target: Any, log: Log, wait: Callable[[float], None]) -> Any:
    """Wait until a cluster is there; its nodes come when a run needs them."""
    waited = 0.0
    polls = 0
    shown = ""
    while target.provisioning_state != "Succeeded":
        state = str(target.provisioning_state)
        if state in ("Failed", "Canceled", "Deleting"):
            why = _problems(target)
            if _is_quota(why):
                raise _no_quota(ws, why)
            raise PlatformError(
                f"compute {target.name} cannot be used, its state is {state} ({why}): see Compute in Azure ML studio, "
                "remove it there and try again"
            )
        if waited > _LONGEST_SECONDS:
            raise PlatformError(
                f"compute {target.name} is still {state} after {_LONGEST_SECONDS // 60} minutes: "
                "see Compute in Azure ML studio, and try again"
            )
        if state != shown:
            log(f"compute {target.name}: {state.lower()}")
            shown = state
        seconds = _POLL_SECONDS[min(polls, len(_POLL_SECONDS) - 1)]
        polls += 1
        waited += seconds
        wait(seconds)
        with translated(f"waiting for compute {target.name}"):
            target.refresh_state()
    log(f"compute {target.name}: ready")
    return target


def _aks_compute(ws: AzureWorkspace) -> Any:
    name = ws.azure.aks_compute_name
    found = _find(ws, name)
    if found is None:
        raise PlatformError(
            f"workspace {ws.azure.workspace_name} has no compute {name}: make or attach an AKS cluster under that name "
            "(Azure ML studio: Compute, Kubernetes clusters), or set AKS_COMPUTE_NAME to the one that it has"
        )
    if found.type != "AKS":
        raise PlatformError(
            f"compute {name} is of type {found.type}, not an AKS cluster: set AKS_COMPUTE_NAME to one"
        )
    if found.provisioning_state != "Succeeded":
        raise PlatformError(
            f"AKS cluster {name} cannot be used yet, its state is {found.provisioning_state} ({_problems(found)})"
        )
    return found


def _find(ws: AzureWorkspace, name: str) -> Any:
    from azureml.core.compute import ComputeTarget
    from azureml.exceptions import ComputeTargetException

    workspace = ws.workspace
    with translated(f"looking up compute {name}"):
        try:
            return ComputeTarget(workspace, name)
        except ComputeTargetException as error:
            if "ComputeTargetNotFound" not in error.message:
                raise
            return None


def _problems(target: Any) -> str:
    errors = target.provisioning_errors or []
    found = [item.get("error", item) if isinstance(item, dict) else item for item in errors]
    texts = [
        f"{item.get('code')}: {item.get('message')}" if isinstance(item, dict) else str(item)
        for item in found
    ]
    return "; ".join(texts) or "no reason given"


def _is_quota(text: str) -> bool:
    return any(word in text.lower() for word in _QUOTA)


def _no_quota(ws: AzureWorkspace, why: str) -> PlatformError:
    return PlatformError(
        f"there is not enough quota in region {ws.workspace.location} for {_nodes(ws)} of {ws.azure.compute_sku} "
        f"({why.rstrip('.')}): ask for more (Azure portal: Quotas, Machine learning), lower AML_CLUSTER_MAX_NODES, "
        "or choose another AML_COMPUTE_CLUSTER_CPU_SKU"
    )


def _nodes(ws: AzureWorkspace) -> str:
    return f"{ws.azure.compute_min_nodes} to {ws.azure.compute_max_nodes} {ws.azure.compute_priority} nodes"
