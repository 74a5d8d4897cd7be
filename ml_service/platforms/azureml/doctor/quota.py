"""Is there room for the training cluster in the region?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ml_service.findings import Finding
from ml_service.platforms.azureml.doctor.asking import Asking, looked
from ml_service.platforms.azureml.doctor.permissions import assignment
from ml_service.settings import AzureSettings

_VERSION = "2024-04-01"
_WHAT = "compute quota"
_UNLIMITED = -1


def quota(ask: Asking, region: str, identity: str) -> Finding:
    """Does the quota allow as many nodes as the cluster may have?

    Args:
        ask: asks Azure.
        region: of the workspace.
        identity: object id of who logged in.
    """
    azure = ask.azure
    place = f"{ask.subscription}/providers/Microsoft.MachineLearningServices/locations/{region}"

    def look() -> Finding:
        sizes = ask.items(f"{place}/vmSizes", _VERSION)
        size = next(
            (item for item in sizes if item["name"].lower() == azure.compute_sku.lower()), None
        )
        if size is None:
            return Finding(
                _WHAT,
                False,
                f"{region} does not offer {azure.compute_sku} to this subscription",
                "set AML_COMPUTE_CLUSTER_CPU_SKU to one of "
                f"`az ml compute list-sizes --location {region} --output table`",
            )
        cores = int(size["vCPUs"])
        found = list(limits(ask.items(f"{place}/usages", _VERSION), azure, str(size["family"])))
        if not found:
            detail = f"Azure lists no quota of {azure.compute_priority} cores of {size['family']}"
            return Finding(_WHAT, None, detail)
        name, limit = min(found, key=lambda item: item[1])
        nodes = limit // cores
        if nodes < azure.compute_max_nodes:
            return Finding(
                _WHAT,
                False,
                f"{name} in {region} is {limit} {azure.compute_priority} cores: {nodes} of the "
                f"{azure.compute_max_nodes} nodes of {azure.compute_sku} ({cores} cores each)",
                _advice(azure, name, nodes, cores, place),
            )
        detail = f"{limit} {azure.compute_priority} cores in {region}, "
        detail += f"{azure.compute_max_nodes} nodes take {cores * azure.compute_max_nodes}"
        return Finding(_WHAT, True, detail)

    reader = assignment("Reader", ask.subscription, identity)
    return looked(_WHAT, look, f"{reader} lets it")


def limits(usages: Iterable[Any], azure: AzureSettings, family: str) -> Iterable[tuple[str, int]]:
    """Name and cores of each quota that holds for the cluster.

    Args:
        usages: as Azure Machine Learning lists them; a family is in it for dedicated cores, and again for others.
        azure: says which of them the cluster has.
        family: of the machine size.
    """
    dedicated = azure.compute_priority == "dedicated"
    total = "TotalDedicatedCores" if dedicated else "TotalLowPriorityCores"
    kind = "/dedicatedcores/" if dedicated else "/lowprioritycores/"
    for item in usages:
        name, limit = str(item["name"]["value"]), int(item["limit"])
        of_family = name.lower() == family.lower() and kind in str(item["type"]).lower()
        if (of_family or name == total) and limit != _UNLIMITED:
            yield name, limit


def _advice(azure: AzureSettings, name: str, nodes: int, cores: int, place: str) -> str:
    kind = "dedicated" if azure.compute_priority == "dedicated" else "lowPriority"
    ask_for = (
        f"`az quota update --resource-name {name} --resource-type {kind} "
        f"--limit-object value={cores * azure.compute_max_nodes} --scope {place}`"
    )
    if nodes == 0:
        return f"ask for more: {ask_for}; or choose another AML_COMPUTE_CLUSTER_CPU_SKU or AML_CLUSTER_PRIORITY"
    return f"ask for more: {ask_for}; or set AML_CLUSTER_MAX_NODES={nodes}"
