"""The pipelines of data, really run on the platform local: from the notebook to a file that drops in each environment.

A copy of the repository stands for somebody's fork. Its jobs use the environment of these tests instead of making one,
and a watcher does what a trigger of Data Factory does in Azure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.pipelines.test_runs import CONNECTION, ROOT, Fork, artifacts, jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MAKEFILE = ".venv/.%:\n\tln -sfn {environment} .venv\n"
TESTS = "tests/insurance_claims/ingestion/test_merge.py"


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Fork:
    """A copy of the repository as it is now, under git."""
    folder = tmp_path_factory.mktemp("fork") / "repository"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    (folder / "Makefile").write_text(MAKEFILE.format(environment=sys.prefix))
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    for command in (["init"], ["add", "--all"], ["commit", "--message", "fork"]):
        subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)
    home = tmp_path_factory.mktemp("state")
    shutil.copy(database, home)
    landing = tmp_path_factory.mktemp("landing")
    values = {"MLOPS_LANDING": str(landing), "RESOURCE_GROUP": "group", "WORKSPACE_NAME": "none"}
    groups = {f"insurance_claims-data-{name}": {**values} for name in ("dev", "test", "prod")}
    group = folder.parent / "group.yml"
    group.write_text(
        yaml.safe_dump({"insurance_claims-vg": {"AZURE_RM_SVC_CONNECTION": CONNECTION}, **groups})
    )
    login = folder.parent / "nothing"
    login.touch()
    variables = {"MLOPS_PLATFORM": "local", "MLOPS_HOME": str(home), "UV_CACHE_DIR": str(home)}
    return Fork(folder, folder.parent / "ci", group, variables, login)


@contextmanager
def watcher(fork: Fork) -> Iterator[None]:
    """Takes in what drops into the landing of all environments."""
    landing = yaml.safe_load(fork.group.read_text())["insurance_claims-data-dev"]["MLOPS_LANDING"]
    command = [sys.executable, "-m", "ml_service", "ingest", "watch", "--landing", landing]
    command += ["--no-train", "--poll", "0.3", "--settle", "0.3"]
    process = subprocess.Popen(
        command, cwd=fork.folder, env={**os.environ, **fork.variables}, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_ci_checks_and_builds_what_cd_brings_to_each_environment(fork: Fork) -> None:
    code, printed, record = fork.run("data-ci", "--parameter", f"tests={TESTS}")
    assert code == 0, printed
    assert jobs(record) == {"data": "Succeeded"}
    assert "500 rows: valid" in printed
    assert "sample.csv: accepted, 500 rows" in printed
    assert printed.count("nothing is wrong") == 2
    assert artifacts(fork) == ["ingestion"]
    folder = max((fork.work / "runs").iterdir(), key=lambda path: int(path.name))
    built = folder / "artifacts" / "ingestion"
    for name in ("dev", "test", "prod"):
        parameters = json.loads((built / name / "parameters.json").read_text())["parameters"]
        assert parameters["environment"]["value"] == name
        assert json.loads((built / name / "template.json").read_text())["resources"]
    executed = (built / "notebook" / "executed.ipynb").read_text()
    assert "sample.csv: 500 rows" in executed
    assert "sample.csv: 500 rows" not in (built / "notebook" / "ingest.ipynb").read_text()

    with watcher(fork):
        code, printed, record = fork.run("data-cd")
    assert code == 0, printed
    assert [stage["name"] for stage in record["stages"]] == ["dev", "test", "prod"]
    assert set(jobs(record).values()) == {"Succeeded"}
    assert [environment for environment in record_environments(printed)] == [
        "data-dev",
        "data-test",
        "data-prod",
    ]
    assert printed.count("insurance_claims version ") >= 2
    status = fork.mlops("ingest", "status")["files"]
    assert [item["status"] for item in status] == ["quarantined", "accepted", "accepted"]
    # What only Azure has is left out, and nothing pretends that it was done.
    assert "did nothing in Azure" not in printed


def record_environments(printed: str) -> list[str]:
    """The environments that were approved, in order."""
    said = "approved by --approve: environment "
    return [line.partition(said)[2].strip() for line in printed.splitlines() if said in line]


def test_a_notebook_with_outputs_stops_ci(fork: Fork) -> None:
    path = fork.folder / "notebooks" / "ingest.ipynb"
    content = json.loads(path.read_text())
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["7;0\n"]}]
    path.write_text(json.dumps(content))
    code, printed, record = fork.run("data-ci")
    assert code == 1
    assert jobs(record) == {"data": "Failed"}
    assert "ingest.ipynb: cell 2 holds what it printed" in printed
    assert artifacts(fork) == []


TEMPLATE = (ROOT / ".pipelines" / "data-deploy-template.yml").read_text()


def test_triggers_stand_still_during_the_deployment_and_start_again_whatever_happens() -> None:
    steps = yaml.safe_load(TEMPLATE)["stages"][0]["jobs"][0]["strategy"]["runOnce"]["deploy"][
        "steps"
    ]
    tasks = [step for step in steps if step.get("task") == "AzureCLI@2"]
    scripts = [step["inputs"]["inlineScript"] for step in tasks]
    assert ["stop-triggers" in text for text in scripts] == [True, False, False]
    assert ["az deployment group create" in text for text in scripts] == [False, True, False]
    assert ["start-triggers" in text for text in scripts] == [False, False, True]
    assert [step["condition"].split("(")[1] for step in tasks] == [
        "succeeded",
        "succeeded",
        "always",
    ]
