"""The data factory: three layers of checks with what each must refuse, the exported template, and its triggers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from environment_setup import bundle
from environment_setup.check.__main__ import SCHEMAS
from environment_setup.check.arm import deployed
from environment_setup.check.kustomize import apply
from environment_setup.check.schemas import Schemas
from environment_setup.data_factory import __main__ as commands
from environment_setup.data_factory import models, triggers
from environment_setup.data_factory.__main__ import main
from environment_setup.data_factory.activities import activities
from environment_setup.data_factory.check import factory_problems
from environment_setup.data_factory.export import parameters, template
from environment_setup.data_factory.expressions import expressions
from environment_setup.data_factory.files import FOLDER, load_factory
from environment_setup.data_factory.models import model_problems
from environment_setup.data_factory.references import reference_problems
from insurance_claims.ingestion.batch import Claimed, batch_from_json

ROOT = Path(__file__).resolve().parents[2]
BAD = Path(__file__).parent / "bad" / "data_factory"
FILES = ("factory", "linkedService", "dataset", "pipeline", "trigger", "expressions.json")
PIPELINE_ID = "0a1b2c3d-0000-4000-8000-000000000001"
CONTAINERS = ["landing", "curated"]


def bad(layer: str) -> list[Any]:
    cases = yaml.safe_load((BAD / f"{layer}.yml").read_text(encoding="utf-8"))
    return [pytest.param(case, id=f"{case['file']}-{case['reason']}"[:90]) for case in cases]


def changed(folder: Path, case: Mapping[str, Any]) -> Path:
    """A copy of the data factory in which one value is another, or is not there."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        copy = shutil.copytree if (FOLDER / name).is_dir() else shutil.copy
        copy(FOLDER / name, folder / name)
    file = folder / case["file"]
    content = json.loads(file.read_text(encoding="utf-8"))
    last = case["path"].rsplit("/", 1)[1]
    operation = ("replace" if last.isdecimal() else "add") if "value" in case else "remove"
    apply(content, {"op": operation, "path": case["path"], "value": case.get("value")})
    file.write_text(json.dumps(content), encoding="utf-8")
    return folder


def ingest_pipeline() -> Mapping[str, Any]:
    found: Mapping[str, Any] = load_factory().resources["pipeline"]["take_in"]["properties"]
    return found


def test_the_data_factory_is_sound() -> None:
    assert factory_problems(None) == []


def test_the_data_factory_keeps_azures_schemas(schemas: Schemas) -> None:
    assert factory_problems(schemas) == []


@pytest.mark.parametrize("case", bad("references"))
def test_the_walk_over_references_refuses(tmp_path: Path, case: Mapping[str, Any]) -> None:
    factory = load_factory(changed(tmp_path, case))
    assert case["reason"] in "\n".join(reference_problems(factory, CONTAINERS))


@pytest.mark.parametrize("case", bad("models"))
def test_the_models_refuse(tmp_path: Path, case: Mapping[str, Any]) -> None:
    factory = load_factory(changed(tmp_path, case))
    assert case["reason"] in "\n".join(model_problems(factory))


@pytest.mark.parametrize("case", bad("template"))
def test_a_template_that_does_not_fit_its_environment_is_refused(
    tmp_path: Path, case: Mapping[str, Any]
) -> None:
    assert case["reason"] in "\n".join(factory_problems(None, changed(tmp_path, case)))


@pytest.mark.parametrize("case", bad("schemas"))
def test_azures_schemas_refuse(tmp_path: Path, schemas: Schemas, case: Mapping[str, Any]) -> None:
    folder = changed(tmp_path, case)
    factory = load_factory(folder)
    given = {
        name: item["value"]
        for name, item in parameters(factory, "dev", PIPELINE_ID)["parameters"].items()
    }
    found = list(schemas.problems(deployed(template(factory, "dev"), given)))
    assert len(found) == 1
    assert f"/{case['reason']}:" in found[0]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("pipeline/take_in.json", "{", "cannot be read"),
        ("pipeline/take_in.json", "[]", "has to hold a JSON object"),
        ("pipeline/take_in.json", '{"name": "take_out"}', "the name has to be take_in"),
        ("pipeline/take_in.json", '{"name": "take_in"}', "properties are missing"),
        ("factory/dev.json", '{"name": "dev", "properties": {}}', "globalParameters is missing"),
        ("dataset/landing_file.json", None, "holds no JSON file"),
        ("expressions.json", '{"trigger": 7}', "do not have the shape of a data factory"),
        ("expressions.json", None, "cannot be read"),
        ("factory/test.json", None, "factory/ has to have a file for each of dev, prod, test"),
    ],
)
def test_a_broken_file_is_one_line(
    tmp_path: Path, file: str, content: str | None, reason: str
) -> None:
    nothing = {"file": file, "path": "/name", "value": "x"}
    place = changed(tmp_path, nothing) / file
    place.unlink() if content is None else place.write_text(content)
    [problem] = factory_problems(None, tmp_path)
    assert reason in problem


def test_an_object_cannot_have_any_name(tmp_path: Path) -> None:
    folder = changed(tmp_path, {"file": "pipeline/take_in.json", "path": "/name", "value": "a-b"})
    (folder / "pipeline" / "take_in.json").rename(folder / "pipeline" / "a-b.json")
    assert "pipeline/a-b: the name has to be" in "\n".join(
        reference_problems(load_factory(folder), CONTAINERS)
    )


def test_a_pipeline_has_no_more_activities_and_parameters_than_azure_takes(tmp_path: Path) -> None:
    many = [{"name": f"wait {number}", "type": "Wait"} for number in range(41)]
    case: dict[str, Any]
    case = {"file": "pipeline/take_in.json", "path": "/properties/activities", "value": many}
    folder = changed(tmp_path / "a", case)
    found = "\n".join(reference_problems(load_factory(folder), CONTAINERS))
    assert "41 activities: there have to be 1 to 40" in found
    declared = {f"more{number}": {"type": "String"} for number in range(51)}
    case = {"file": "pipeline/take_in.json", "path": "/properties/parameters", "value": declared}
    folder = changed(tmp_path / "b", case)
    found = "\n".join(reference_problems(load_factory(folder), CONTAINERS))
    assert "more than 50 parameters" in found


def test_every_activity_knows_what_ran_before_it() -> None:
    found = {
        activity.name: activity.earlier for activity in activities(ingest_pipeline()["activities"])
    }
    assert found["name"] == frozenset()
    assert found["unstable"] >= {"before", "settle", "after"}
    assert "stable" not in found["unstable"]
    assert found["failed"] == found.keys() - {"failed", "unstable"}


def test_whichever_activity_fails_an_alert_is_sent_and_the_run_is_red() -> None:
    listed = {activity["name"]: activity for activity in ingest_pipeline()["activities"]}
    after_failure = ("alert", "failed")
    for name, activity in listed.items():
        conditions = {
            c for other in activity.get("dependsOn", []) for c in other["dependencyConditions"]
        }
        assert name in after_failure or conditions <= {"Succeeded"}
    # Those after a failed activity are skipped, so that the last one is skipped or has failed.
    chain = [name for name in listed if name not in after_failure]
    for before, name in zip(chain, chain[1:], strict=False):
        assert [other["activity"] for other in listed[name]["dependsOn"]] == [before]
    assert listed["alert"]["dependsOn"] == [
        {"activity": chain[-1], "dependencyConditions": ["Failed", "Skipped"]}
    ]
    assert listed["failed"]["type"] == "Fail"
    assert listed["failed"]["dependsOn"] == [
        {"activity": "alert", "dependencyConditions": ["Completed"]}
    ]


def test_azure_ml_is_given_the_parameters_of_the_ingestion_pipeline() -> None:
    [run] = [
        item for item in ingest_pipeline()["activities"] if item["type"] == "AzureMLExecutePipeline"
    ]
    file = ROOT / "insurance_claims" / "pipelines" / "ingestion.yml"
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))["parameters"]
    given = run["typeProperties"]["mlPipelineParameters"].keys()
    assert {"landing", "batch"} <= given <= declared.keys()


def test_the_step_can_read_the_list_that_the_factory_writes() -> None:
    [claim] = [item for item in ingest_pipeline()["activities"] if item["name"] == "claim"]
    text = claim["typeProperties"]["body"]["value"]
    values = {
        "variables('batch')": "20261121t150000-0a1b2c3d",
        "formatDateTime(": "2026-11-21",
        "variables('name')": "folder/january.csv",
        "activity('version')": "0x8DC0FFEE",
        "activity('after')": "1024",
    }
    for expression in expressions(text):
        [value] = [value for start, value in values.items() if start in expression[:40]]
        text = text.replace(f"@{{{expression}}}", value)
    batch = batch_from_json(text.encode(), "claim")
    assert batch.id == "20261121t150000-0a1b2c3d"
    assert batch.arrival == "2026-11-21"
    assert batch.files == (Claimed("folder/january.csv", "0x8DC0FFEE", 1024),)


def test_no_trigger_is_fired_by_what_the_pipeline_writes() -> None:
    endings = {
        content["properties"]["typeProperties"]["blobPathEndsWith"]
        for content in load_factory().resources["trigger"].values()
    }
    assert endings == {".csv", ".csv.gz", ".parquet"}
    assert not any("_ingestion/batch.json".endswith(ending) for ending in endings)


def test_the_template_deploys_what_the_files_say() -> None:
    factory = load_factory()
    given = {"baseName": "claims", "environment": "test", "ingestionPipelineId": PIPELINE_ID}
    resources = {
        (item.kind.rsplit("/", 1)[1], str(item.content["name"]).split("/")[1]): item
        for item in deployed(template(factory, "test"), given)
    }
    assert len(resources) == len(list(factory.all())) + 1
    pipeline = resources["pipelines", "take_in"]
    assert pipeline.content["properties"] == ingest_pipeline()
    assert len(pipeline.depends) == 4
    names = {str(item.content["name"]).split("/")[0] for item in resources.values()}
    setup = {
        name: item["value"]
        for name, item in bundle.load(bundle.ARM / "parameters" / "test.json")["parameters"].items()
    }
    made = {item.kind: item for item in deployed(bundle.bundle(), setup)}
    assert names == {made["Microsoft.DataFactory/factories"].content["name"]}
    account = made["Microsoft.EventGrid/systemTopics"].content["properties"]["source"]
    scope = resources["triggers", "csv_landed"].content["properties"]["typeProperties"]["scope"]
    assert scope == account
    shared = resources["globalParameters", "default"].content["properties"]
    assert shared["ingestionPipelineId"]["value"] == PIPELINE_ID
    assert shared["alertUrl"]["value"] == "https://alerts.example.com/test"
    address = f"https://{account.rsplit('/', 1)[1]}.blob.core.windows.net/landing"
    assert shared["landingUrl"]["value"] == address


def test_a_text_that_begins_with_a_bracket_stays_one(tmp_path: Path) -> None:
    place = "/properties/activities/10/typeProperties/body/value"
    folder = changed(tmp_path, {"file": "pipeline/take_in.json", "path": place, "value": "[1, 2]"})
    given = {"baseName": "claims", "environment": "dev", "ingestionPipelineId": PIPELINE_ID}
    exported = template(load_factory(folder), "dev")
    [pipeline] = [i for i in deployed(exported, given) if i.kind.endswith("/pipelines")]
    body = pipeline.content["properties"]["activities"][10]["typeProperties"]["body"]["value"]
    assert body == "[1, 2]"
    assert '"value": "[[1, 2]"' in json.dumps(exported)


def test_export_writes_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("once", "twice"):
        arguments = ["export", "--environment", "prod", "--output", str(tmp_path / name)]
        assert main([*arguments, "--pipeline-id", PIPELINE_ID]) == 0
    for file in ("template.json", "parameters.json"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "twice" / file).read_bytes()
        assert str(tmp_path / "once" / file) in capsys.readouterr().out or file != "template.json"
    written = json.loads((tmp_path / "once" / "parameters.json").read_text())["parameters"]
    assert written == {
        "baseName": {"value": "claims"},
        "environment": {"value": "prod"},
        "ingestionPipelineId": {"value": PIPELINE_ID},
    }


def test_without_an_id_the_deployment_has_to_be_given_one(tmp_path: Path) -> None:
    assert main(["export", "--environment", "dev", "--output", str(tmp_path)]) == 0
    declared = json.loads((tmp_path / "template.json").read_text())["parameters"]
    assert "defaultValue" not in declared["ingestionPipelineId"]
    assert "ingestionPipelineId" not in (tmp_path / "parameters.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["export", "--environment", "qa", "--output", "x"], "invalid choice: 'qa'"),
        (["export", "--environment", "dev"], "--output"),
        (["export", "--environment", "dev", "--output", "x", "--pipeline-id", "7"], "is no id"),
        (["stop-triggers", "--environment", "dev"], "--resource-group"),
        ([], "COMMAND"),
    ],
)
def test_wrong_use(
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RESOURCE_GROUP", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_the_command_checks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "environment_setup.data_factory", "check"]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "", SCHEMAS: str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "schemas are not checked" in result.stdout
    assert "nothing is wrong" in result.stdout


def test_the_command_says_what_is_wrong_and_what_it_could_not_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(models, "PACKAGE", "azure.mgmt.nothing")
    monkeypatch.setenv(SCHEMAS, str(tmp_path / "nowhere"))
    monkeypatch.setattr(commands, "factory_problems", lambda schemas: ["pipeline/x: wrong"])
    assert main(["check"]) == 1
    said = capsys.readouterr().out
    assert "the models are not checked" in said
    assert said.endswith("pipeline/x: wrong\n1 problems\n")


AZ = r'''
"""Stands in for `az rest`: a factory with triggers, which takes only what Azure takes."""
import json, os, re, sys
place = os.environ["AZ_STATE"]
with open(place) as file:
    state = json.load(file)
assert sys.argv[1] == "rest" and sys.argv[6:] == ["--output", "json"], sys.argv
method, url = sys.argv[3], sys.argv[5]
state["calls"].append(f"{method} {url}")
base = "/subscriptions/{subscriptionId}/resourceGroups/group/providers/Microsoft.DataFactory"
path, _, query = url.removeprefix("https://management.azure.com").partition("?")
def end(answer=None, error=None):
    with open(place, "w") as file:
        json.dump(state, file)
    if error:
        sys.exit(f"az said something\nERROR: {error}")
    if answer is not None:
        print(json.dumps(answer))
    sys.exit(0)
if "api-version=2018-06-01" not in query:
    end(error="api-version is missing")
if not path.startswith(base):
    end(error="ResourceGroupNotFound")
path = path.removeprefix(base)
if method == "get" and path == "/factories":
    end({"value": [{"name": name} for name in state["factories"]]})
found = re.fullmatch(r"/factories/adf-claims-dev-0123456789abc/triggers(?:/(\w+)/(\w+))?", path)
if not found:
    end(error="NotFound")
if method == "get" and not found[1]:
    names = sorted(state["triggers"])
    first = names[:2] if "page=2" not in query else names[2:]
    page = {"value": [{"name": name, "properties": state["triggers"][name]} for name in first]}
    if "page=2" not in query and names[2:]:
        page["nextLink"] = f"https://management.azure.com{base}{path}?api-version=2018-06-01&page=2"
    end(page)
trigger = state["triggers"][found[1]]
action = found[2]
if method != "post":
    end(error="MethodNotAllowed")
if action == "subscribeToEvents":
    trigger["status"] = "Provisioning" if found[1] == "csv_landed" else "Enabled"
elif action == "unsubscribeFromEvents":
    trigger["status"] = "Deprovisioning" if found[1] == "csv_landed" else "Disabled"
elif action == "getEventSubscriptionStatus":
    shown = trigger["status"]
    trigger["status"] = {"Provisioning": "Enabled", "Deprovisioning": "Disabled"}.get(shown, shown)
    end({"status": "Unknown" if state["stuck"] else shown})
elif action == "stop":
    if trigger["status"] != "Disabled":
        end(error="TriggerIsSubscribed")
    trigger["runtimeState"] = "Stopped"
elif action == "start":
    if trigger["status"] != "Enabled":
        end(error="TriggerIsNotSubscribed")
    trigger["runtimeState"] = "Started"
else:
    end(error="NotFound")
end()
'''
FACTORY = "adf-claims-dev-0123456789abc"
OURS = ("csv_landed", "gzip_landed", "parquet_landed")


class FakeAzure:
    """The Azure CLI of a test, and the factory behind it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.write(factories=["adf-claims-test-1", FACTORY], calls=[], stuck=False, triggers={})

    def write(self, **changes: Any) -> None:
        state = self.read() if self._file.exists() else {}
        self._file.write_text(json.dumps({**state, **changes}))

    def read(self) -> Any:
        return json.loads(self._file.read_text())

    def states(self) -> dict[str, str]:
        return {name: item["runtimeState"] for name, item in self.read()["triggers"].items()}

    def posts(self) -> list[str]:
        calls = [call for call in self.read()["calls"] if call.startswith("post ")]
        return [re.sub(r".*/triggers/([^?]*).*", r"\1", call) for call in calls]


def trigger(state: str) -> dict[str, str]:
    status = "Enabled" if state == "Started" else "Disabled"
    return {"type": "BlobEventsTrigger", "runtimeState": state, "status": status}


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAzure:
    """The Azure CLI, and a factory without triggers."""
    program = tmp_path / "bin" / "az"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -IS\n{AZ}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AZ_STATE", str(tmp_path / "state.json"))
    monkeypatch.setenv("RESOURCE_GROUP", "group")
    monkeypatch.setattr(triggers, "_POLL_SECONDS", 0)
    return FakeAzure(tmp_path / "state.json")


def test_triggers_are_stopped_and_started_and_either_may_be_done_twice(
    azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    # One that is no longer among the files is stopped with the others, and stays so.
    azure.write(triggers={name: trigger("Started") for name in (*OURS, "old")})
    assert main(["stop-triggers", "--environment", "dev"]) == 0
    assert set(azure.states().values()) == {"Stopped"}
    before = azure.posts()
    assert main(["stop-triggers", "--environment", "dev"]) == 0
    assert azure.posts() == before
    assert main(["start-triggers", "--environment", "dev"]) == 0
    assert azure.states() == {**dict.fromkeys(OURS, "Started"), "old": "Stopped"}
    before = azure.posts()
    capsys.readouterr()
    assert main(["start-triggers", "--environment", "dev"]) == 0
    assert azure.posts() == before
    assert "csv_landed is started" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["stop-triggers", "start-triggers"])
def test_a_dry_run_changes_nothing(
    azure: FakeAzure, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    state = "Started" if command == "stop-triggers" else "Stopped"
    azure.write(triggers={name: trigger(state) for name in OURS})
    assert main([command, "--environment", "dev", "--dry-run"]) == 0
    assert azure.posts() == []
    assert "csv_landed: would be" in capsys.readouterr().out


def test_before_the_first_deployment_there_is_nothing_to_stop(azure: FakeAzure) -> None:
    assert main(["stop-triggers", "--environment", "dev"]) == 0
    assert azure.posts() == []


@pytest.mark.parametrize(
    ("changes", "arguments", "reason"),
    [
        ({}, ["start-triggers"], "no trigger csv_landed, gzip_landed, parquet_landed: deploy"),
        ({"factories": []}, ["stop-triggers"], "has 0 data factories adf-claims-dev-*, not one"),
        ({"factories": [FACTORY, f"{FACTORY}d"]}, ["stop-triggers"], "has 2 data factories"),
        ({}, ["stop-triggers", "--resource-group", "other"], "ERROR: ResourceGroupNotFound"),
        (
            {"stuck": True, "triggers": {"csv_landed": trigger("Started")}},
            *(["stop-triggers"], "csv_landed: its subscription is Unknown"),
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(
    azure: FakeAzure,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.setattr(triggers, "_POLLS", 2)
    azure.write(**changes)
    assert main([*arguments, "--environment", "dev"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert reason in error


def test_without_the_azure_cli_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["stop-triggers", "--environment", "dev", "--resource-group", "group"]) == 1
    assert "az login" in capsys.readouterr().err
