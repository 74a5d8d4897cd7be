"""Are the names of compute targets and services free, or ours?"""

from __future__ import annotations

from collections.abc import Iterator

from insurance_claims.errors import ClaimsError
from ml_service.findings import Finding
from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.doctor.asking import Asking, looked, missing

_VERSION = "2024-04-01"


def name_findings(ask: Asking) -> Iterator[Finding]:
    """One finding a name."""
    azure = ask.azure
    yield _compute(
        ask,
        "training cluster",
        azure.compute_name,
        "AmlCompute",
        "AML_COMPUTE_CLUSTER_NAME",
        Finding("training cluster", True, f"{azure.compute_name} is free: the first run makes it"),
    )
    yield _compute(
        ask,
        "AKS cluster",
        azure.aks_compute_name,
        "AKS",
        "AKS_COMPUTE_NAME",
        Finding(
            "AKS cluster",
            None,
            f"there is no {azure.aks_compute_name}: nothing can be deployed to production in this workspace",
            "where that is wanted, set `kubernetes` to true in the environment's parameter file and run "
            "`.pipelines/iac-create.yml`",
        ),
    )
    yield _service(ask, "service of staging", azure.aci_name, "ACI")
    yield _service(ask, "service of production", azure.aks_name, "AKSENDPOINT")


def _compute(ask: Asking, what: str, name: str, kind: str, variable: str, free: Finding) -> Finding:
    def look() -> Finding:
        try:
            found = ask.get(f"{ask.workspace_id}/computes/{name}", _VERSION)["properties"]
        except ClaimsError as error:
            if missing(error):
                return free
            raise
        if found["computeType"] != kind:
            detail = f"{name} is a compute target of type {found['computeType']}, not {kind}"
            return Finding(what, False, detail, f"set {variable} to another name")
        state = found.get("provisioningState")
        if state in ("Failed", "Canceled"):
            command = (
                f"`az ml compute delete --name {name} --resource-group {ask.azure.resource_group} "
                f"--workspace-name {ask.azure.workspace_name}`"
            )
            return Finding(what, False, f"{name} is {state}", f"{command}, then make it again")
        return Finding(what, True, f"{name} is ours ({state})")

    return looked(what, look)


def _service(ask: Asking, what: str, name: str, kind: str) -> Finding:
    def look() -> Finding:
        found = ask.once(
            f"service:{name}",
            f"looking up service {name}",
            lambda: services.find(ask.workspace, name, kind),
        )
        return Finding(what, True, f"{name} is free" if found is None else f"{name} is ours")

    return looked(what, look)
