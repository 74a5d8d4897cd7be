"""The doctor of Azure: with nothing wrong all is well, and each fault is a line that says what to do."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from environment_setup.check.access import ROLES
from insurance_claims.errors import ClaimsError
from ml_service.cli import app
from ml_service.findings import Finding
from ml_service.platforms.azureml.doctor import examine, resources, variables
from ml_service.platforms.azureml.doctor.asking import looked, within
from ml_service.platforms.azureml.doctor.identity import described
from ml_service.platforms.azureml.doctor.permissions import NEEDS, lacking
from ml_service.platforms.azureml.doctor.quota import limits
from ml_service.platforms.base import PlatformError
from ml_service.settings import AzureSettings, azure_settings
from tests.azureml_emulator.process import EmulatorProcess

AGENT = {"TF_BUILD": "True", **dict.fromkeys(variables.VARIABLES, "set")}
ML = "Microsoft.MachineLearningServices/workspaces"
Look = Callable[..., Iterator[Finding]]


@pytest.fixture
def look(azure: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Look]:
    """Examines as a pipeline does, with some variables set otherwise; looks no further than it is asked."""

    def run(seconds: float = 60.0, **changed: str) -> Iterator[Finding]:
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        azure_settings.cache_clear()
        return examine(AGENT, seconds)

    yield run
    azure_settings.cache_clear()


def line(findings: Iterator[Finding], what: str) -> Finding:
    """The first finding of this name."""
    return next(finding for finding in findings if finding.what == what)


def test_with_nothing_wrong_all_is_well(look: Look) -> None:
    findings = list(look())
    assert [finding.describe() for finding in findings if finding.ok is not True] == []
    shown = {finding.what: finding.detail for finding in findings}
    assert shown["login"].startswith("service-principal, as ")
    assert "UTC" in shown["login"]
    assert shown["compute quota"] == "100 dedicated cores in local, 4 nodes take 16"
    assert shown["training cluster"] == "train-cluster is free: the first run makes it"
    assert {f"may {need.task}" for need in NEEDS} <= shown.keys()


FAULTS: list[tuple[dict[str, Any], dict[str, str], str, str, str]] = [
    (
        {"kind": "expired-secret"},
        {},
        "login",
        "service-principal: logging in to Azure: the secret in SP_APP_SECRET has expired",
        "az ad app credential reset",
    ),
    (
        {},
        {"SUBSCRIPTION_ID": "11111111-2222-3333-4444-555555555555"},
        "subscription",
        "this login sees no 11111111",
        "az account list",
    ),
    (
        {"path": "444444444444/providers$", "cut": True},
        {},
        "resource providers",
        "no answer from",
        "check network, proxy and firewall",
    ),
    (
        {},
        {"RESOURCE_GROUP": "nowhere"},
        "resource group",
        "there is no nowhere",
        "az group create --name nowhere",
    ),
    (
        {},
        {"WORKSPACE_NAME": "nowhere"},
        "workspace",
        "there is no nowhere in emulator",
        "iac-create.yml",
    ),
    (
        {"kind": "deleted-vault", "message": "kv-claims"},
        {"WORKSPACE_NAME": "nowhere"},
        "name of the key vault",
        "deleted from this group: kv-claims",
        "az keyvault recover --name kv-claims",
    ),
    (
        {},
        {"AML_COMPUTE_CLUSTER_CPU_SKU": "STANDARD_NC6"},
        "compute quota",
        "local does not offer STANDARD_NC6",
        "az ml compute list-sizes --location local",
    ),
    (
        {"kind": "cores", "message": "0"},
        {"AML_CLUSTER_PRIORITY": "lowpriority"},
        "compute quota",
        "TotalLowPriorityCores in local is 0 lowpriority cores: 0 of the 4 nodes",
        "az quota update --resource-name TotalLowPriorityCores --resource-type lowPriority "
        "--limit-object value=16",
    ),
]


@pytest.mark.parametrize(("seeded", "changed", "what", "detail", "advice"), FAULTS)
def test_a_fault_is_a_line_that_says_what_to_do(
    seeded: dict[str, Any],
    changed: dict[str, str],
    what: str,
    detail: str,
    advice: str,
    look: Look,
    fault: Callable[..., None],
) -> None:
    if seeded:
        fault(**seeded)
    found = line(look(**changed), what)
    assert found.ok is False
    assert detail in found.detail
    assert advice in found.advice
    assert found.describe() == f"FAIL {what}: {found.detail} -> {found.advice}"


@pytest.fixture(scope="module")
def broken(azure: str, emulator: EmulatorProcess) -> Iterator[dict[str, Finding]]:
    """What is found where everything is wrong at once."""

    def refuse(ws: Any, name: str, kind: str) -> None:
        other = "AKSENDPOINT" if kind == "ACI" else "ACI"
        raise PlatformError(f"service {name} is of type {other}, not {kind}: remove it")

    emulator.fault(kind="subscription", message="Disabled")
    emulator.fault(kind="provider", message="Microsoft.ContainerInstance")
    emulator.fault(kind="cores", message="6")
    emulator.fault(kind="role", message="|".join(need.role for need in NEEDS), times=9)
    for path in ("/vaults/emulator$", "/registries/emulator$", "/storageAccounts/[^/]+$"):
        emulator.fault(path=path, status=404)
    emulator.fault(path="^/blob/[^/]+/[^/]+$", status=403)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AML_COMPUTE_CLUSTER_NAME", "aks")
        patch.setattr("ml_service.platforms.azureml.services.find", refuse)
        azure_settings.cache_clear()
        found = {finding.what: finding for finding in examine({"TF_BUILD": "True"}, 60)}
    azure_settings.cache_clear()
    emulator.clear_faults()
    yield found


BROKEN = {
    "subscription": ("emulator is Disabled", "enables it again"),
    "resource providers": (
        "not registered: Microsoft.ContainerInstance",
        "az provider register --wait --namespace Microsoft.ContainerInstance",
    ),
    "compute quota": (
        "standardDSv2Family in local is 6 dedicated cores: 1 of the 4 nodes",
        "set AML_CLUSTER_MAX_NODES=1",
    ),
    **{
        f"may {need.task}": (need.actions[-1], f'--role "{need.role}" --scope /subscriptions/')
        for need in NEEDS
    },
    "storage account": ("is not there any more", "restore it"),
    "key vault": (
        "emulator, which the workspace is linked to, is not there any more",
        "az keyvault recover --name emulator",
    ),
    "container registry": ("is not there any more", "az ml workspace update"),
    "storage": ("listing blobs", "az storage account show --name emulatorstore"),
    "training cluster": (
        "aks is a compute target of type AKS, not AmlCompute",
        "set AML_COMPUTE_CLUSTER_NAME to another name",
    ),
    "service of staging": ("is of type AKSENDPOINT, not ACI", "see what it says"),
    "service of production": ("is of type ACI, not AKSENDPOINT", "see what it says"),
    "pipeline variables": (
        "not set: SUBSCRIPTION_ID",
        "az pipelines variable-group variable create --group-id ID --name SUBSCRIPTION_ID",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_of_many_faults_is_a_line(what: str, broken: dict[str, Finding]) -> None:
    detail, advice = BROKEN[what]
    found = broken[what]
    assert found.ok is False
    assert detail in found.detail
    assert advice in found.advice


def test_no_fault_hides_another(broken: dict[str, Finding]) -> None:
    assert [what for what, finding in broken.items() if finding.ok is False] == list(BROKEN)
    assert [what for what, finding in broken.items() if finding.ok] == [
        *("settings of azureml", "login", "resource group", "workspace"),
        *("Application Insights", "AKS cluster"),
    ]


def test_what_cannot_be_looked_at_says_so(look: Look, fault: Callable[..., None]) -> None:
    fault(path="444444444444/resourceGroups/emulator$", status=403)
    fault(path="/locations/local/usages$", status=403)
    fault(path="Microsoft.Authorization/permissions$", status=403)
    findings = list(look(AKS_COMPUTE_NAME="another"))
    unsure = [finding for finding in findings if finding.ok is None]
    assert [finding.what for finding in unsure] == [
        *("resource group", "compute quota"),
        *(f"may {need.task}" for need in NEEDS if need.on == "workspace"),
        "AKS cluster",
    ]
    assert unsure[0].describe() == "?    resource group: this login may not look at it"
    assert "nothing can be deployed to production" in unsure[-1].detail
    assert [finding for finding in findings if finding.ok is False] == []


def test_without_a_login_nothing_else_is_asked(look: Look, fault: Callable[..., None]) -> None:
    fault(kind="expired-secret")
    findings = [(finding.what, finding.ok) for finding in look()]
    assert findings == [
        ("settings of azureml", True),
        ("login", False),
        ("everything in Azure", None),
        ("pipeline variables", True),
    ]


def test_without_a_workspace_the_quota_is_looked_at(look: Look) -> None:
    findings = {finding.what: finding.ok for finding in look(WORKSPACE_NAME="nowhere")}
    assert (findings["workspace"], findings["compute quota"]) == (False, True)
    assert findings["name of the key vault"] is True
    assert None in findings.values()


def test_missing_settings_are_listed_and_nothing_is_asked(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKSPACE_NAME")
    first, *others = look(RESOURCE_GROUP="")
    assert first.ok is False
    assert "RESOURCE_GROUP: not set" in first.detail
    assert "WORKSPACE_NAME: not set" in first.detail
    assert [finding.what for finding in others] == ["pipeline variables"]


def test_an_address_that_hangs_is_a_finding(look: Look, fault: Callable[..., None]) -> None:
    pytest.importorskip("azureml.core")
    fault(path="444444444444/resourceGroups/emulator$", delay=30)
    found = line(look(seconds=3), "resource group")
    assert found.ok is False
    assert "no answer within 3 s" in found.detail
    assert "check network" in found.advice


def test_the_command_tells_scripts_by_its_exit_code(
    azure: str,
    fault: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mlops(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mlops", "doctor", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        return int(end.value.code or 0), capfd.readouterr().out

    monkeypatch.delenv("TF_BUILD", raising=False)
    azure_settings.cache_clear()
    code, out = mlops("--platform", "azureml")
    assert code == 0, out
    assert "ok   workspace: " in out
    assert "?    pipeline variables: seen on a build agent" in out
    fault(kind="subscription", message="Disabled")
    code, out = mlops("--platform", "azureml", "--json")
    answer = json.loads(out)
    assert (code, answer["ok"]) == (1, False)
    assert [item["what"] for item in answer["findings"] if item["ok"] is False] == ["subscription"]
    assert mlops("--platform", "moon")[0] == 2


def test_no_secret_is_printed(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    found = line(look(SP_APP_SECRET="hush-hush"), "login")
    assert found.ok is False
    assert "hush-hush" not in found.describe()


def test_a_clock_that_is_wrong_is_found() -> None:
    claims = {"appid": "app", "iat": 1000, "exp": 4600}
    assert described("cli", claims, 1010).ok
    assert described("cli", claims, 900).ok
    for now in (5000, 100):
        found = described("cli", claims, now)
        assert not found.ok
        assert "timedatectl" in found.advice


def test_what_one_role_leaves_out_another_gives() -> None:
    (need,) = (item for item in NEEDS if item.task == "make the training cluster")
    scientist = {
        "actions": [f"{ML}/*/read", f"{ML}/*/write"],
        "notActions": [f"{ML}/computes/*/write"],
    }
    assert lacking(need, [scientist]) == [f"{ML}/computes/write"]
    assert lacking(need, [scientist, {"actions": [f"{ML}/computes/*"]}]) == []
    assert lacking(need, []) == list(need.actions)


def test_actions_on_data_are_not_those_on_resources() -> None:
    (need,) = (item for item in NEEDS if item.data)
    assert lacking(need, [{"actions": ["*"], "dataActions": []}]) == list(need.actions)
    assert lacking(need, [{"dataActions": ["*"]}]) == []


def test_a_quota_without_limit_does_not_limit() -> None:
    azure = AzureSettings.model_validate(
        {
            "SUBSCRIPTION_ID": "0" * 8 + "-0000-0000-0000-" + "0" * 12,
            "RESOURCE_GROUP": "g",
            "WORKSPACE_NAME": "www",
        }
    )
    kind = "Microsoft.MachineLearningServices/vmFamily/dedicatedCores/usages"
    usages = [
        {"name": {"value": "standardDSv2Family"}, "type": kind, "limit": -1},
        {"name": {"value": "standardDSv5Family"}, "type": kind, "limit": 3},
        {"name": {"value": "TotalDedicatedCores"}, "type": "any", "limit": 20},
    ]
    assert list(limits(usages, azure, "StandardDSv2Family")) == [("TotalDedicatedCores", 20)]


def test_a_call_that_hangs_is_left_alone() -> None:
    with pytest.raises(PlatformError, match="waiting: no answer within 0.05 s"):
        within(0.05, "waiting", lambda: time.sleep(1))
    assert within(5, "counting", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, "dividing", lambda: 1 / 0)


def test_a_mistake_of_this_project_is_no_finding() -> None:
    def fail() -> Finding:
        raise KeyError("state")

    with pytest.raises(KeyError):
        looked("x", fail)

    def refuse() -> Finding:
        raise ClaimsError("no")

    assert looked("x", refuse).ok is False


@pytest.mark.parametrize(
    ("environ", "ok", "detail"),
    [
        (AGENT, True, "all 5"),
        ({}, None, "seen on a build agent"),
        ({**AGENT, "TENANT_ID": ""}, False, "not set: TENANT_ID"),
        ({**AGENT, "TENANT_ID": "$(TENANT_ID)"}, False, "not set: TENANT_ID"),
        ({"TF_BUILD": "True"}, False, "not set: SUBSCRIPTION_ID, RESOURCE_GROUP, WORKSPACE_NAME"),
    ],
)
def test_variables_of_the_pipelines(environ: dict[str, str], ok: bool | None, detail: str) -> None:
    found = variables.pipeline_variables(environ)
    assert found.ok is ok
    assert detail in found.detail
    if ok is False:
        assert "az pipelines variable-group variable create" in found.advice


def test_the_variables_are_those_that_pipelines_name(root: Path) -> None:
    folder = root / ".pipelines"
    template = yaml.safe_load((folder / "insurance_claims-variables-template.yml").read_text())
    assert {"group": variables.GROUP} in template["variables"]
    text = (folder / "insurance_claims-variables-template.yml").read_text()
    given = set(re.findall(r"name: ([A-Z_]+)", text))
    used = {
        name
        for file in folder.glob("*.yml")
        for name in re.findall(r"\$\(([A-Z_]+)\)", file.read_text())
    }
    assert used - given <= set(variables.VARIABLES)
    required = {
        str(field.alias) for field in AzureSettings.model_fields.values() if field.is_required()
    }
    assert required <= set(variables.VARIABLES)


def test_every_provider_of_the_templates_is_asked_for(root: Path) -> None:
    texts = [file.read_text() for file in (root / "environment_setup" / "arm").rglob("*.json")]
    used = {name for text in texts for name in re.findall(r'"type": "(Microsoft\.\w+)/', text)}
    always_there = {"Microsoft.Authorization", "Microsoft.Resources"}
    assert used - always_there <= set(resources.PROVIDERS)


def test_the_environment_gives_pipelines_the_roles_that_work_on_the_workspace_needs(
    root: Path,
) -> None:
    module = json.loads((root / "environment_setup/arm/modules/roles.json").read_text())
    given = {
        ROLES.get(item["role"])
        for item in module["variables"]["assignments"]
        if item["why"].startswith("Azure DevOps")
    }
    assert {need.role for need in NEEDS if need.on in ("workspace", "storage account")} <= given
