"""The ARM templates: references, names, access, Azure's schemas; and for each check templates that it must refuse."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from environment_setup import bundle
from environment_setup.check.__main__ import SCHEMAS
from environment_setup.check.access import ASSIGNMENT, ROLES
from environment_setup.check.arm import arm_problems, deployed, longest
from environment_setup.check.evaluate import Scope, evaluate
from environment_setup.check.expressions import TemplateError, is_expression
from environment_setup.check.kustomize import apply
from environment_setup.check.schemas import Schemas

ROOT = Path(__file__).resolve().parents[2]
ARM = ROOT / "environment_setup" / "arm"
STORAGE = "modules/storage.json"
LAST = -1


def values(environment: str) -> dict[str, Any]:
    content = json.loads((ARM / "parameters" / f"{environment}.json").read_text())
    return {name: item["value"] for name, item in content["parameters"].items()}


def changed(folder: Path, file: str, path: str, value: Any) -> Path:
    """A copy of the templates, with one parameter file, in which one value is another, or is not there."""
    others = shutil.ignore_patterns("test.json", "prod.json")
    shutil.copytree(ARM, folder, dirs_exist_ok=True, ignore=others)
    content = json.loads((folder / file).read_text())
    operation = {"op": "replace" if path.rsplit("/", 1)[1].isdecimal() else "add"}
    if value is None:
        operation = {"op": "remove"}
    apply(content, {**operation, "path": path, "value": value})
    (folder / file).write_text(json.dumps(content))
    return folder


def place(file: str, kind: str) -> int:
    """Where the first resource of a type stands in a template."""
    kinds = [resource["type"] for resource in json.loads((ARM / file).read_text())["resources"]]
    return kinds.index(kind)


def test_the_templates_are_sound() -> None:
    assert arm_problems(ARM, None) == []


def test_the_templates_keep_azures_schemas(schemas: Schemas) -> None:
    assert arm_problems(ARM, schemas) == []


@pytest.mark.parametrize(
    ("file", "path", "value", "reason"),
    [
        (STORAGE, "/parameters/more", {"type": "string"}, "parameter more is not used"),
        (STORAGE, "/variables", {"more": "x"}, "variable more is not used"),
        (STORAGE, "/parameters/logsId", None, "parameter logsId does not exist"),
        (STORAGE, "/resources/0/location", "[variables('place')]", "variable place does not exist"),
        (STORAGE, "/resources/0/location", "[parameters('location'", "does not end with ]"),
        (STORAGE, "/resources/0/location", "[parameters('location']", "breaks off"),
        (STORAGE, "/resources/0/location", "[parameters['location']]", "is no function"),
        (STORAGE, "/resources/0/location", "[parameters('location'), 1]", ", was not expected"),
        (STORAGE, "/resources/0/location", "[lower(parameters('location'))]", "lower is not known"),
        (STORAGE, "/resources/0/location", "[parameters('tags').place]", "there is no 'place'"),
        (STORAGE, "/resources/0/location", "[copyIndex()]", "outside of a loop"),
        (STORAGE, "/outputs", {}, "module storage has no output workspaceAccountId"),
        ("main.json", "/resources/0/dependsOn", ["storge"], "waits for storge, which nothing"),
        ("main.json", "/resources/1/properties/parameters/more", {"value": 1}, "no parameter more"),
        ("main.json", "/resources/1/properties/parameters/queue", None, "queue is not given"),
        (
            *("main.json", "/resources/1/properties/parameters/softDeleteDays/value"),
            *("[string(parameters('softDeleteDays'))]", "function string is not known"),
        ),
        (
            *("main.json", "/resources/1/properties/parameters/softDeleteDays/value"),
            *("[parameters('redundancy')]", "is no int"),
        ),
        (
            *("main.json", "/resources/1/properties/parameters/redundancy/value"),
            *("[replace(parameters('redundancy'), 'S', 's')]", "is none of Standard_LRS"),
        ),
        ("modules/ingestion.json", "/variables/blobRole", "x", "is none of those that may"),
        ("parameters/dev.json", "/parameters/environment/value", "prod", "environment is prod"),
        ("parameters/dev.json", "/parameters/environment/value", "qa", "none of dev, test, prod"),
        ("parameters/dev.json", "/parameters/budget/value", 0, "below the least allowed"),
        ("parameters/dev.json", "/parameters/budget/value", "100", "is no int"),
        ("parameters/dev.json", "/parameters/budget/value", True, "is no int"),
        ("parameters/dev.json", "/parameters/budget", None, "parameter budget is not given"),
        ("parameters/dev.json", "/parameters/bugdet", {"value": 1}, "no parameter bugdet"),
        ("parameters/dev.json", "/parameters/baseName/value", "claimsdata", "above the most"),
        # Nine letters of base name make 25 of a storage account, which may have 24.
        ("main.json", "/parameters/baseName/maxLength", 9, "(25 characters) is not allowed"),
        (
            "main.json",
            "/variables/containers/0",
            "Landing",
            "Landing (7 characters) is not allowed",
        ),
        ("main.json", "/variables/clusterName", "training-cluster-1", "is not allowed"),
        ("main.json", "/variables/containers/1", "landing", "is there twice"),
        (STORAGE, "/resources/0/type", "Microsoft.Storage/accounts", "this type is not known"),
        (STORAGE, "/resources/0/properties/minimumTlsVersion", "TLS1_0", "has to be TLS1_2"),
        (STORAGE, "/resources/0/properties/allowBlobPublicAccess", True, "has to be False"),
        (STORAGE, "/resources/2/properties/deleteRetentionPolicy/enabled", False, "to be True"),
        (STORAGE, f"/resources/{LAST}", None, "its logs go nowhere"),
        ("modules/key_vault.json", "/resources/0/properties/enablePurgeProtection", None, "Purge"),
        ("modules/registry.json", "/resources/0/properties/adminUserEnabled", True, "adminUser"),
        ("modules/roles.json", "/variables/assignments/0/scope", "[resourceGroup().id]", "whole"),
        (
            *("modules/roles.json", "/variables/assignments/0/role"),
            # Contributor.
            *("b24988ac-6180-42a0-ab88-20f7382dd24c", "none of those that may be assigned"),
        ),
        ("modules/roles.json", "/variables/assignments/0/why", "", "does not say why"),
        ("modules/roles.json", "/resources/0/properties/principalType", None, "kind of principal"),
        ("modules/roles.json", "/variables/assignments/1/role", next(iter(ROLES)), "there twice"),
        ("main.json", "/variables/endpoints/0", None, "has no private endpoint of group blob"),
        (
            *("modules/registry.json", "/resources/0/properties/publicNetworkAccess"),
            *("Enabled", "can be reached from outside"),
        ),
    ],
)
def test_templates_that_are_not_sound_are_refused(
    tmp_path: Path, file: str, path: str, value: Any, reason: str
) -> None:
    folder = changed(tmp_path, file, path, value)
    assert reason in "; ".join(arm_problems(folder, None))


@pytest.mark.parametrize(
    ("file", "kind", "path", "value", "reason"),
    [
        (STORAGE, "Microsoft.Storage/storageAccounts", "apiVersion", "2025-06-02", "no schema of"),
        (STORAGE, "Microsoft.Storage/storageAccounts", "kind", "StorageV3", "'StorageV3'"),
        ("modules/key_vault.json", "Microsoft.KeyVault/vaults", "properties/sku", None, "sku"),
        (
            *(STORAGE, "Microsoft.Storage/storageAccounts", "properties/publicNetworkAcess"),
            *("Disabled", "publicNetworkAcess"),
        ),
        (
            *("modules/key_vault.json", "Microsoft.KeyVault/vaults"),
            *("properties/sku/name", "gold", "gold"),
        ),
        (
            *("modules/workspace.json", "Microsoft.MachineLearningServices/workspaces"),
            *("properties/managedNetwork/isolationMode", "AllowAll", "AllowAll"),
        ),
        (
            *("modules/workspace.json", "Microsoft.MachineLearningServices/workspaces/computes"),
            *("properties/computeType", "AmlComputer", "computeType"),
        ),
        (
            *("modules/workspace.json", "Microsoft.MachineLearningServices/workspaces/computes"),
            *("properties/properties/vmPriority", "Spot", ""),
        ),
        (
            *("modules/kubernetes.json", "Microsoft.ContainerService/managedClusters"),
            *("properties/networkProfile/networkPolicy", "none of them", "none of them"),
        ),
        (
            *("modules/budget.json", "Microsoft.Consumption/budgets"),
            *("properties/timeGrain", "Weekly", "Weekly"),
        ),
        (
            *("modules/identities.json", "Microsoft.ManagedIdentity/userAssignedIdentities"),
            *("tags", ["x"], "tags"),
        ),
        (
            *("modules/ingestion.json", "Microsoft.EventGrid/systemTopics/eventSubscriptions"),
            *("properties/retryPolicy/maxDeliveryAttempts", "many", ""),
        ),
        (
            *("modules/monitoring.json", "Microsoft.Insights/actionGroups"),
            *("properties/groupShortName", "a name too long", "too long"),
        ),
        (
            *("modules/alerts.json", "Microsoft.Insights/metricAlerts"),
            *("properties/criteria/allOf/0/operator", "MoreThan", "properties.criteria"),
        ),
        (
            *("modules/alerts.json", "Microsoft.Insights/scheduledQueryRules"),
            *("properties/criteria/allOf/0/failingPeriods/atLeast", 2, "atLeast"),
        ),
        (
            *("modules/workbook.json", "Microsoft.Insights/workbooks"),
            *("properties/serializedData", None, "serializedData"),
        ),
        ("modules/roles.json", ASSIGNMENT, "properties/roleDefinitionId", None, "roleDefinition"),
    ],
)
def test_azures_schemas_refuse(
    tmp_path: Path, schemas: Schemas, file: str, kind: str, path: str, value: Any, reason: str
) -> None:
    folder = changed(tmp_path, file, f"/resources/{place(file, kind)}/{path}", value)
    template = bundle.bundle(folder / "main.json")
    found = list(schemas.problems(deployed(template, longest(template, values("prod")))))
    assert found
    assert all(f"{kind} " in message for message in found)
    assert reason in "; ".join(found)


def test_a_folder_without_schemas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="holds no schemas"):
        Schemas(tmp_path)


@pytest.mark.parametrize("missing", ["main.json", "modules/storage.json"])
def test_a_missing_template_is_one_line(tmp_path: Path, missing: str) -> None:
    shutil.copytree(ARM, tmp_path, dirs_exist_ok=True)
    (tmp_path / missing).unlink()
    [problem] = arm_problems(tmp_path, None)
    assert f"{tmp_path / missing} cannot be read" in problem


def test_no_parameter_file_is_no_success(tmp_path: Path) -> None:
    shutil.copytree(ARM, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "parameters")
    assert "holds no parameter file" in arm_problems(tmp_path, None)[0]


def kinds(given: dict[str, Any]) -> set[str]:
    return {item.kind for item in deployed(bundle.bundle(), given)}


def test_what_is_optional_is_made_only_where_asked_for() -> None:
    optional = {
        "Microsoft.ContainerService/managedClusters",
        "Microsoft.Network/privateEndpoints",
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
    }
    assert kinds(values("dev")) & optional == set()
    assert kinds(longest(bundle.bundle(), values("dev"))) >= optional
    assert "Microsoft.ContainerService/managedClusters" in kinds(values("prod"))


def test_the_cluster_costs_nothing_while_nobody_trains() -> None:
    for environment in ("dev", "test", "prod"):
        [cluster] = [
            item.content["properties"]["properties"]
            for item in deployed(bundle.bundle(), values(environment))
            if item.content.get("properties", {}).get("computeType") == "AmlCompute"
        ]
        assert cluster["scaleSettings"]["minNodeCount"] == 0


def test_keys_open_the_account_of_the_workspace_alone() -> None:
    # stclaimsml..., stclaimsdata...: the letter after the base name tells them apart.
    place = len("st") + len(values("prod")["baseName"])
    shared = {
        str(item.content["name"])[place]: item.content["properties"]["allowSharedKeyAccess"]
        for item in deployed(bundle.bundle(), values("prod"))
        if item.kind == "Microsoft.Storage/storageAccounts"
    }
    assert shared == {"m": True, "d": False}
    without = {**values("prod"), "workspaceSharedKeys": False}
    [workspace] = [
        item.content["properties"]
        for item in deployed(bundle.bundle(), without)
        if item.kind == "Microsoft.MachineLearningServices/workspaces"
    ]
    assert workspace["systemDatastoresAuthMode"] == "Identity"


def test_every_identity_logs_in_without_a_secret() -> None:
    credentials = [
        item.content["properties"]
        for item in deployed(bundle.bundle(), longest(bundle.bundle(), values("prod")))
        if item.kind.endswith("/federatedIdentityCredentials")
    ]
    assert {item["subject"] for item in credentials} == {
        "sc://organisation/project/connection",
        "repo:owner/name:ref:refs/heads/main",
        "repo:owner/name:environment:staging",
        "repo:owner/name:environment:production",
    }
    assert all(item["audiences"] == ["api://AzureADTokenExchange"] for item in credentials)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("[format('{1}-{0}', 'a', 2)]", "2-a"),
        ("[if(not(empty('')), 'yes', 'it''s')]", "it's"),
        ("[createArray('a', 'b')[1]]", "b"),
        ("[variables('twice').key]", "value"),
        ("[take(toLower('ABC'), 2)]", "ab"),
        ("[[not an expression]", "[not an expression]"),
        ("text", "text"),
    ],
)
def test_expressions(text: str, outcome: str) -> None:
    scope = Scope(
        {"key": "value"}, {"once": {"key": "[parameters('key')]"}, "twice": "[variables('once')]"}
    )
    assert evaluate(text, scope) == outcome


def test_what_azure_alone_knows_stays_an_expression() -> None:
    text = "[format('{0}!', reference('module').outputs.name.value)]"
    found = evaluate({"a": text, "b": "[guid(reference('x').y)]"}, Scope({}, {}))
    assert is_expression(found["a"])
    # A name all the same: the same parts make the same one, others another.
    assert found["b"] == evaluate("[guid(reference('x').y)]", Scope({}, {}))
    assert found["b"] != evaluate("[guid(reference('z').y)]", Scope({}, {}))


def test_the_bundle_is_one_file_without_links(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "environment_setup.bundle", str(tmp_path / "all.json")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    text = (tmp_path / "all.json").read_text()
    assert json.loads(text) == bundle.bundle()
    assert "templateLink" not in text
    # Azure takes four megabytes.
    assert len(text) < 4_000_000


def test_the_bundle_needs_to_know_where_to() -> None:
    command = [sys.executable, "-m", "environment_setup.bundle"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "usage" in result.stderr


def check_command(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "environment_setup.check"]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": "", **environment}, capture_output=True, text=True
    )


def test_the_command_checks_everything(tmp_path: Path) -> None:
    result = check_command(**{SCHEMAS: str(tmp_path / "nowhere")})
    assert result.returncode == 0, result.stdout + result.stderr
    assert "schemas are not checked" in result.stdout
    assert "nothing is wrong" in result.stdout


def test_the_command_fails_with_a_reason(tmp_path: Path) -> None:
    result = check_command(**{SCHEMAS: str(tmp_path)})
    assert result.returncode == 1
    assert "holds no schemas" in result.stdout
    assert "Traceback" not in result.stderr
