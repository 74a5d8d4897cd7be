"""Prices the resources that the templates make with a parameter file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment_setup.bundle import ARM, MAIN, bundle, load
from environment_setup.check.arm import deployed
from environment_setup.check.expand import Deployed
from environment_setup.cost.prices import Price, PriceError, Prices, Region
from environment_setup.cost.usage import HOURS, Usage

_DAYS = 30.4
_FREE_LOG_GIGABYTES = 5.0
"""A month, of each account that is billed."""
_FREE_LOG_DAYS = 31
_OPERATIONS_A_GIGABYTE = 2000
_VAULT_OPERATIONS = 10_000
_ACTIVITY_RUNS = 300
_EVENTS = 10_000
_OFTEN = {"PT1M": "each minute", "PT5M": "each 5 minutes"}
_SELDOM = "each 15 minutes"
"""Prices of alert rules by how often they look; what looks less often costs no more."""
_STAGING_CORES = 0.5
_STAGING_GIGABYTES = 1.0
"""Of the service that `mlops deploy staging` makes: insurance_claims/scoring/deployment.yml."""

FREE = frozenset(
    {
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.Consumption/budgets",
        "Microsoft.Insights/actionGroups",
        "Microsoft.Insights/components",
        "Microsoft.Insights/diagnosticSettings",
        "Microsoft.Insights/workbooks",
        "Microsoft.MachineLearningServices/workspaces",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        "Microsoft.Network/networkSecurityGroups",
        "Microsoft.Network/virtualNetworks",
        "Microsoft.Resources/deployments",
    }
)
"""Types that cost nothing themselves: what they are used for is priced elsewhere."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the estimate.

    Attributes:
        what: is paid for.
        quantity: of it in a month.
        unit: of the quantity.
        price: of one unit.
        month: quantity times price.
        source: page with the real price.
    """

    what: str
    quantity: float
    unit: str
    price: float
    month: float
    source: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one environment costs a month.

    Attributes:
        environment: dev, test or prod.
        lines: each with its price.
        total: of all lines.
        budget: of the parameter file, in the currency of the subscription.
        unpriced: types of resources that the table of prices knows nothing of.
    """

    environment: str
    lines: tuple[Line, ...]
    total: float
    budget: float
    unpriced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a resource's price depends on beside the resource."""

    usage: Usage
    accounts: int
    nodes: int


_Charge = tuple[str, str, float]
"""What, the price's key, and the quantity."""


def environments(folder: Path = ARM) -> list[str]:
    """Those that have a parameter file, in the order of the alphabet."""
    return sorted(file.stem for file in (folder / "parameters").glob("*.json"))


def estimate(
    environment: str, usage: Usage, prices: Prices, region: Region, folder: Path = ARM
) -> Estimate:
    """Price an environment.

    Args:
        environment: whose parameter file it is: dev, test or prod.
        usage: that is assumed.
        prices: list prices.
        region: that they are of.
        folder: of the templates.

    Raises:
        PriceError: there is no such environment, or a price is missing.
        TemplateError: the templates do not fit the parameters.
    """
    known = environments(folder)
    if environment not in known:
        raise PriceError(f"there is no environment {environment!r}; there is: {', '.join(known)}")
    file = folder / "parameters" / f"{environment}.json"
    given = {name: item["value"] for name, item in load(file)["parameters"].items()}
    resources = deployed(bundle(folder / MAIN), given)
    # Resources of one kind make one line.
    charges: dict[tuple[str, str], float] = {}
    for what, key, quantity in [*_charges(resources, usage), *_staging(usage)]:
        charges[what, key] = charges.get((what, key), 0) + quantity
    lines = tuple(
        _line(what, prices.of(key), region, quantity) for (what, key), quantity in charges.items()
    )
    return Estimate(
        environment,
        lines,
        sum(line.month for line in lines),
        float(given["budget"]),
        tuple(unpriced(resources)),
    )


def unpriced(resources: Sequence[Deployed]) -> list[str]:
    """Types of resources that are neither free nor have a price. A part of a resource is paid with the whole."""
    known = {*FREE, *_PRICED}
    wholes = {"/".join(item.kind.split("/")[:2]) for item in resources}
    return sorted(wholes - known)


def _charges(resources: Sequence[Deployed], usage: Usage) -> Iterator[_Charge]:
    pools = [
        pool
        for item in resources
        if item.kind == "Microsoft.ContainerService/managedClusters"
        for pool in item.content["properties"]["agentPoolProfiles"]
    ]
    accounts = sum(item.kind == "Microsoft.Storage/storageAccounts" for item in resources)
    whole = _Whole(usage, accounts, sum(int(pool["count"]) for pool in pools))
    for item in resources:
        if item.kind in _PRICED:
            yield from _PRICED[item.kind](item.content, whole)


def _staging(usage: Usage) -> Iterator[_Charge]:
    hours = usage.serving_hours
    yield "staging service, cores", "container instance core", hours * _STAGING_CORES
    yield "staging service, memory", "container instance memory", hours * _STAGING_GIGABYTES


def _compute(content: Mapping[str, Any], whole: _Whole) -> Iterator[_Charge]:
    properties = content["properties"]
    if properties["computeType"] != "AmlCompute":
        return
    size = str(properties["properties"]["vmSize"])
    cheap = properties["properties"]["vmPriority"] == "LowPriority"
    key = f"{size} lowpriority" if cheap else size
    yield f"training, {key}", key, whole.usage.training_hours


def _kubernetes(content: Mapping[str, Any], whole: _Whole) -> Iterator[_Charge]:
    if content["sku"]["tier"] == "Standard":
        yield "AKS, control plane", "aks standard", HOURS
    yield "AKS, load balancer", "load balancer and address", HOURS
    for pool in content["properties"]["agentPoolProfiles"]:
        count = int(pool["count"])
        hours = count * whole.usage.serving_hours
        yield f"AKS, {count} nodes {pool['vmSize']}", str(pool["vmSize"]), hours
        yield f"AKS, {count} system disks", "system disk of a node", count


def _account(content: Mapping[str, Any], whole: _Whole) -> Iterator[_Charge]:
    # What is assumed is the sum: how it is divided between accounts changes nothing.
    gigabytes = whole.usage.gigabytes / whole.accounts
    yield "storage", str(content["sku"]["name"]), gigabytes
    operations = gigabytes * _OPERATIONS_A_GIGABYTE / 10_000
    yield "storage, operations", "storage operations", operations


def _logs(content: Mapping[str, Any], whole: _Whole) -> Iterator[_Charge]:
    properties = content["properties"]
    taken = whole.usage.logs(whole.nodes, float(properties["workspaceCapping"]["dailyQuotaGb"]))
    yield "logs", "logs", max(0.0, taken - _FREE_LOG_GIGABYTES)
    months = (int(properties["retentionInDays"]) - _FREE_LOG_DAYS) / 30
    if months > 0:
        yield "logs, kept longer", "logs kept longer", taken * months


def _registry(content: Mapping[str, Any], _: _Whole) -> Iterator[_Charge]:
    yield "container registry", f"registry {content['sku']['name']}", _DAYS


def _alert(content: Mapping[str, Any], _: _Whole) -> Iterator[_Charge]:
    often = _OFTEN.get(str(content["properties"]["evaluationFrequency"]), _SELDOM)
    yield f"alert rules, {often}", f"alert rule {often}", 1


def _fixed(what: str, key: str, quantity: float) -> Callable[..., Iterator[_Charge]]:
    def charges(content: Mapping[str, Any], _: _Whole) -> Iterator[_Charge]:
        yield what, key, quantity

    return charges


_PRICED: Mapping[str, Callable[[Mapping[str, Any], _Whole], Iterator[_Charge]]] = {
    "Microsoft.MachineLearningServices/workspaces/computes": _compute,
    "Microsoft.ContainerService/managedClusters": _kubernetes,
    "Microsoft.Storage/storageAccounts": _account,
    "Microsoft.OperationalInsights/workspaces": _logs,
    "Microsoft.ContainerRegistry/registries": _registry,
    "Microsoft.KeyVault/vaults": _fixed(
        "key vault", "key vault operations", _VAULT_OPERATIONS / 10_000
    ),
    "Microsoft.DataFactory/factories": _fixed(
        "data factory", "data factory runs", _ACTIVITY_RUNS / 1000
    ),
    "Microsoft.EventGrid/systemTopics": _fixed("events of new files", "events", _EVENTS / 1e6),
    "Microsoft.Insights/scheduledQueryRules": _alert,
    "Microsoft.Insights/metricAlerts": _alert,
    "Microsoft.Network/privateEndpoints": _fixed("private endpoints", "private endpoint", HOURS),
    "Microsoft.Network/privateDnsZones": _fixed("private DNS zones", "private dns zone", 1),
}


def _line(what: str, found: Price, region: Region, quantity: float) -> Line:
    price: float = getattr(found, region)
    return Line(what, quantity, found.unit, price, quantity * price, found.source)
