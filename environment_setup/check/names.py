"""Azure's rules for names of resources.

Source: Azure Resource Manager, "Naming rules and restrictions for Azure resources".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from environment_setup.bundle import DEPLOYMENT
from environment_setup.check.expand import Deployed
from environment_setup.check.expressions import is_expression

_HYPHENS = r"[A-Za-z0-9][A-Za-z0-9-]{%d,%d}[A-Za-z0-9]"
RULES = {
    "Microsoft.Authorization/roleAssignments": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.Consumption/budgets": r"[A-Za-z0-9_-]{1,63}",
    "Microsoft.ContainerRegistry/registries": r"[A-Za-z0-9]{5,50}",
    "Microsoft.ContainerService/managedClusters": r"[A-Za-z0-9][A-Za-z0-9_-]{0,61}[A-Za-z0-9]",
    "Microsoft.DataFactory/factories": _HYPHENS % (1, 61),
    "Microsoft.EventGrid/systemTopics": r"[A-Za-z0-9-]{3,50}",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": r"[A-Za-z0-9-]{3,64}",
    "Microsoft.Insights/actionGroups": r"[^:<>+/&%\\?|]{1,259}[^:<>+/&%\\?|. ]",
    "Microsoft.Insights/components": r"[^%&\\?/]{1,259}[^%&\\?/. ]",
    "Microsoft.Insights/diagnosticSettings": r"[^*<>%&:\\?+/]{1,260}",
    "Microsoft.Insights/metricAlerts": r"[^*#&+:<>?@%{}\\/|]{0,259}[^*#&+:<>?@%{}\\/|. ]",
    "Microsoft.Insights/scheduledQueryRules": r"[^*<>%{}&:\\?/#|]{0,259}[^*<>%{}&:\\?/#|. ]",
    "Microsoft.Insights/workbooks": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.KeyVault/vaults": r"[A-Za-z](?!.*--)[A-Za-z0-9-]{1,22}[A-Za-z0-9]",
    "Microsoft.MachineLearningServices/workspaces": r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
    "Microsoft.MachineLearningServices/workspaces/computes": r"[A-Za-z][A-Za-z0-9-]{0,14}[A-Za-z0-9]",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}"
    ),
    "Microsoft.Network/networkSecurityGroups": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/privateDnsZones": r"[a-z0-9-]+(\.[a-z0-9-]+){1,33}",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/privateEndpoints": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/virtualNetworks": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.OperationalInsights/workspaces": _HYPHENS % (2, 61),
    DEPLOYMENT: r"[\w.()-]{1,64}",
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.Storage/storageAccounts/blobServices": "default",
    "Microsoft.Storage/storageAccounts/blobServices/containers": r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "Microsoft.Storage/storageAccounts/queueServices": "default",
    "Microsoft.Storage/storageAccounts/queueServices/queues": (
        r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
    ),
}


def name_problems(resources: Sequence[Deployed]) -> Iterator[str]:
    """Names that Azure refuses, and those that are there twice."""
    seen: set[str] = set()
    for item in resources:
        rule = RULES.get(item.kind)
        name = str(item.content["name"]).rsplit("/", 1)[-1]
        if rule is None:
            yield f"{item}: the rule for names of this type is not known here"
        elif not is_expression(name) and not re.fullmatch(rule, name):
            yield f"{item}: {name} ({len(name)} characters) is not allowed: {rule}"
        if item.id in seen:
            yield f"{item}: is there twice"
        seen.add(item.id)
