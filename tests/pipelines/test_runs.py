"""The pipelines of Azure DevOps, really run: from a change to production, on the platform local and on azureml.

A copy of the repository stands for somebody's fork. In it, lint looks at one module and the model is made of few
rounds, and nothing else is changed: the pipelines and their commands are those that Azure DevOps runs. Pipelines that
need the same packages share the folder of their jobs, with the environment in it. Tests build on each other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from insurance_claims.data.synthesize import write_synthetic
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.rollout.control import control_of
from ml_service.settings import Settings
from tests.azureml_emulator.process import EmulatorProcess
from tests.traffic import QUICK_PLAN, Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
ROWS = 90_000
"""So many that the gate tells 5 rounds from 300."""
CONNECTION = "subscription"
TESTS = "tests/insurance_claims/test_files.py"
SHARED = {
    "pr": ("insurance_claims-ci",),
    "insurance_claims-cd": (
        *("insurance_claims-retrain", "insurance_claims-rollout", "insurance_claims-rollback"),
    ),
}
"""Whose folder of jobs other pipelines share: those that check have the tests' packages, the others those for Azure."""


@dataclass(frozen=True)
class Fork:
    """Somebody's fork, and where their pipelines run.

    Attributes:
        folder: the repository.
        work: where runs are kept.
        group: the values of the variable group.
        variables: set when queueing.
        login: file with what the service connection stands for.
    """

    folder: Path
    work: Path
    group: Path
    variables: Mapping[str, str]
    login: Path

    def run(self, pipeline: str, *options: str) -> tuple[int, str, dict[str, Any]]:
        """Run a pipeline; its exit code, what it printed, and its kept record."""
        command = [sys.executable, "-m", "ml_service", "ci", "run", f".pipelines/{pipeline}.yml"]
        command += ["--approve", "--self-hosted", "--work", str(self.work)]
        command += ["--variables", str(self.group)]
        command += ["--connection", f"{CONNECTION}={self.login}"]
        for name, value in self.variables.items():
            command += ["--set", f"{name}={value}"]
        result = subprocess.run(
            [*command, *options],
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        newest = max(self.work.glob("runs/*/run.json"), key=lambda path: int(path.parent.name))
        return result.returncode, result.stdout, json.loads(newest.read_text())

    def mlops(self, *arguments: str) -> Any:
        """What a command of the fork says, as JSON."""
        result = subprocess.run(
            [sys.executable, "-m", "ml_service", *arguments, "--json"],
            cwd=self.folder,
            env={**_environment(), **self.variables, **self.logged_in()},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def logged_in(self) -> dict[str, str]:
        """What the service connection stands for."""
        lines = self.login.read_text().splitlines()
        return {
            name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)
        }

    def change(self, file: str, old: str, new: str) -> None:
        """Change a file and commit it."""
        path = self.folder / file
        text, changes = re.subn(old, new, path.read_text(), count=1)
        assert changes == 1
        path.write_text(text)
        _git(self.folder, "commit", "--all", "--message", "change")

    @property
    def local(self) -> LocalPlatform:
        """Where pipelines run that run on this machine."""
        return LocalPlatform(Settings.model_validate({"MLOPS_HOME": self.variables["MLOPS_HOME"]}))

    def served(self) -> dict[str, dict[int, int]]:
        """Traffic of each environment of this machine by model version."""
        return {found.environment: dict(found.traffic) for found in self.local.endpoints.list()}


def _environment() -> dict[str, str]:
    """This process's, without what other tests set, and with the Python that `make` looks for."""
    ours = ("MLOPS_", "MLFLOW_", "AZURE", "ARM_", "SP_APP_", "HBI_", "PYTEST_", "COV_")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    base = Path(sys.base_prefix) / "bin"
    return {**found, "PATH": f"{base}{os.pathsep}{found['PATH']}"}


def _git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def quiet(line: str) -> None:
    """A log that nobody reads."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository as it is now, under git."""
    folder = tmp_path_factory.mktemp("fork")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = folder / "pyproject.toml"
    one = '["insurance_claims/schema.py"]'
    text = re.sub(r"(?m)^files = .*$", f"files = {one}", project.read_text())
    project.write_text(text.replace("[tool.ruff]\n", f"[tool.ruff]\ninclude = {one}\n"))
    with (folder / ".flake8").open("a") as lint:
        lint.write("filename = *schema.py\n")
    parameters = folder / "insurance_claims" / "parameters.yml"
    content = yaml.safe_load(parameters.read_text())
    content["training"].update(max_rounds=5, learning_rate=0.1, threads=1)
    parameters.write_text(yaml.safe_dump(content))
    _git(folder, "init", "--initial-branch", "main")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--message", "fork")
    yield folder
    # Environments take much room.
    shutil.rmtree(folder.parent / "ci", ignore_errors=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows to train on."""
    file = tmp_path_factory.mktemp("data") / "claims.parquet"
    write_synthetic(file, ROWS, seed=3)
    return file


@pytest.fixture(scope="module")
def fork(
    folder: Path, data: Path, database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fork]:
    """A fork whose pipelines run on the platform local."""
    home = tmp_path_factory.mktemp("state")
    shutil.copy(database, home)
    group = folder.parent / "group.yml"
    names = {"AZURE_RM_SVC_CONNECTION": CONNECTION}
    group.write_text(yaml.safe_dump({"insurance_claims-vg": names}))
    login = folder.parent / "nothing"
    login.touch()
    plan = folder.parent / "plan.yml"
    plan.write_text(yaml.safe_dump(QUICK_PLAN))
    variables = {
        "MLOPS_PLATFORM": "local",
        "MLOPS_ROLLOUT_PLAN": str(plan),
        "MLOPS_HOME": str(home),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
    }
    made = Fork(folder, folder.parent / "ci", group, variables, login)
    agent = made.work / "agent"
    for pipeline, others in SHARED.items():
        (agent / pipeline).mkdir(parents=True)
        for other in others:
            (agent / other).symlink_to(pipeline)
    made.local.data.add("insurance_claims", data, quiet)
    yield made
    for environment in made.served():
        made.local.endpoints.remove(environment, quiet)


def jobs(record: dict[str, Any]) -> dict[str, str]:
    """The result of each job."""
    return {job["name"]: job["result"] for stage in record["stages"] for job in stage["jobs"]}


def artifacts(fork: Fork) -> list[str]:
    """The artifacts of the newest run."""
    newest = max((fork.work / "runs").iterdir(), key=lambda path: int(path.name))
    return sorted(path.name for path in (newest / "artifacts").glob("*"))


@contextmanager
def traffic(fork: Fork) -> Iterator[Client]:
    """Requests to production."""
    production = fork.local.endpoints.get("production")
    assert production is not None
    client = Client(production.url, production.key)
    client.start()
    try:
        yield client
    finally:
        client.stop()


def test_a_pull_request_is_checked(fork: Fork) -> None:
    code, printed, record = fork.run("pr", "--parameter", f"tests={TESTS}")
    assert code == 0, printed
    assert jobs(record) == {"quality": "Succeeded"}
    assert re.search(r"5 (tests )?passed", printed)
    assert "500 rows: valid" in printed
    assert "no test results" not in printed
    assert "no coverage file" not in printed


def test_a_first_model_goes_to_production(fork: Fork) -> None:
    code, printed, record = fork.run("insurance_claims-ci", "--parameter", f"tests={TESTS}")
    assert code == 0, printed
    assert jobs(record) == {"quality": "Succeeded", "train": "Succeeded"}
    assert artifacts(fork) == ["model"]
    assert "model-registered" in record["tags"]
    code, printed, record = fork.run("insurance_claims-cd")
    assert code == 0, printed
    assert printed.count("all 22 checks passed") == 2
    assert fork.served() == {"staging": {1: 100}, "production": {1: 100}}
    [model] = fork.local.models.list()
    assert model.tags["build_id"].isdigit()


def test_a_refused_model_is_green_and_deploys_nothing(fork: Fork) -> None:
    code, printed, record = fork.run("insurance_claims-ci", "--stage", "train")
    assert code == 0, printed
    assert "refused by the gate" in printed
    assert artifacts(fork) == []
    assert "model-registered" not in record["tags"]
    assert len(fork.local.models.list()) == 1
    code, printed, _ = fork.run("insurance_claims-retrain")
    assert code == 0, printed
    assert "nothing to do: the champion, version 1, was trained on" in printed


def test_a_better_model_goes_all_the_way(fork: Fork) -> None:
    fork.change("insurance_claims/parameters.yml", r"max_rounds: 5\b", "max_rounds: 300")
    code, printed, record = fork.run("insurance_claims-ci", "--stage", "train")
    assert code == 0, printed
    assert "model-registered" in record["tags"]
    with traffic(fork) as client:
        code, printed, _ = fork.run("insurance_claims-cd")
    assert code == 0, printed
    for found in ("stage 1 of 2 (50%)", "stage 2 of 2 (100%)", "promoted (healthy after"):
        assert f"production: version 1 to 2: {found}" in printed
    assert set(client.answers) == {"200"}
    assert fork.served() == {"staging": {2: 100}, "production": {2: 100}}
    assert fork.local.models.list()[0].champion


def test_the_schedule_finds_nothing_to_do_after_a_release(fork: Fork) -> None:
    code, printed, _ = fork.run("insurance_claims-rollout")
    assert code == 0, printed
    assert "nothing to do: production: version 1 to 2: promoted" in printed


def test_a_rollback_serves_the_earlier_version_and_says_why(fork: Fork) -> None:
    reason = "too many complaints; $(echo harmless)"
    code, printed, _ = fork.run(
        *("insurance_claims-rollback", "--parameter", "version=1"),
        *("--parameter", f"reason={reason}"),
    )
    assert code == 0, printed
    assert fork.served()["production"] == {1: 100}
    model = fork.local.models.get(1)
    assert model.champion
    assert model.tags["champion_reason"] == f"rolled back to version 1: {reason}"
    [*_, last] = control_of(fork.local).audit.read().records
    assert (last.what, last.environment) == ("rollback", "production")
    assert (last.why, last.after) == (reason, 1)


def test_training_that_breaks_stops_in_ci_with_the_steps_reason(fork: Fork) -> None:
    fork.change("insurance_claims/parameters.yml", r"num_leaves: 4\b", "num_leaves: -4")
    code, printed, record = fork.run("insurance_claims-ci", "--stage", "train")
    assert code == 1
    assert jobs(record) == {"train": "Failed"}
    assert "num_leaves" in printed
    assert artifacts(fork) == []
    assert fork.served() == {"staging": {2: 100}, "production": {1: 100}}
    fork.change("insurance_claims/parameters.yml", r"num_leaves: -4\b", "num_leaves: 4")


def test_the_same_pipelines_run_on_azure(fork: Fork, emulator: EmulatorProcess, data: Path) -> None:
    emulator.make_workspace("pipelines")
    emulator.calls()
    home = fork.folder.parent / "azure"
    home.mkdir()
    login = {**emulator.environment, "WORKSPACE_NAME": "pipelines", "HOME": str(home)}
    del login["MLOPS_PLATFORM"]
    file = home / "login"
    file.write_text("".join(f"{name}='{value}'\n" for name, value in login.items()))
    variables = {
        **fork.variables,
        "MLOPS_PLATFORM": "azureml",
        "MLOPS_HOME": str(home / "state"),
    }
    azure = Fork(fork.folder, fork.work, fork.group, variables, file)
    assert azure.mlops("data", "add", str(data))["new"]
    code, printed, _ = azure.run("insurance_claims-ci", "--stage", "train")
    assert code == 0, printed
    assert artifacts(azure) == ["model"]
    code, printed, _ = azure.run("insurance_claims-cd")
    assert code == 0, printed
    assert printed.count("all 22 checks passed") == 2
    for environment in ("staging", "production"):
        assert re.search(rf"{environment} answers at \S+ \(version 1 100%\)", printed)
    assert emulator.environment["SP_APP_SECRET"] not in printed
    down = [sys.executable, "-m", "ml_service", "down"]
    everything = {**_environment(), **variables, **login}
    subprocess.run(down, cwd=home, env=everything, check=True)
    calls, refused = emulator.calls()
    assert [call["path"] for call in calls if call["status"] == 501] == []
    assert refused == []
