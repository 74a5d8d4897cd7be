"""kill -9 of the runner in each step of training.yml, and a full disk: after a rerun everything is whole."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from insurance_claims.data.synthesize import synthesize
from insurance_claims.model import load_model
from insurance_claims.parameters import PARAMETERS_FILE
from ml_service.pipeline import find_pipeline, load_pipeline
from ml_service.platforms.base import RunStatus
from ml_service.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """training.yml with fewer and larger rounds: these tests are about what survives, not about the model."""
    parameters = yaml.safe_load(PARAMETERS_FILE.read_text())
    parameters["training"].update(max_rounds=60, learning_rate=0.1, threads=1)
    (tmp_path / "parameters.yml").write_text(yaml.safe_dump(parameters))
    pipeline = yaml.safe_load(find_pipeline("training").read_text())
    for step in pipeline["steps"]:
        step["run"] += f" --parameters {tmp_path / 'parameters.yml'}"
    path = tmp_path / "quick.yml"
    path.write_text(yaml.safe_dump(pipeline))
    return str(path)


@pytest.fixture
def data(local: LocalPlatform, tmp_path: Path) -> LocalPlatform:
    """A platform with a small data version."""
    synthesize(8_000, 3, claim_rate=0.25)[0].to_parquet(tmp_path / "claims.parquet")
    local.data.add("insurance_claims", tmp_path / "claims.parquet", quiet)
    return local


def quiet(line: str) -> None:
    """A log that nobody reads."""


def mlops(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ml_service", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_tree(process: subprocess.Popen[str]) -> None:
    """kill -9 the runner, and the step that it leaves behind, as a machine that goes down would."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.communicate()


def test_killed_in_each_step_a_rerun_completes(data: LocalPlatform, quick: str) -> None:
    for step in ("prepare", "train", "evaluate", "register"):
        process = mlops("run", quick)
        wait_until_step_runs(data, process, step)
        kill_tree(process)
        newest = data.pipelines.list()[0]
        assert newest.status is RunStatus.INTERRUPTED
    again = data.pipelines.run(load_pipeline(Path(quick)), {}, quiet)
    assert again.error is None
    assert data.pipelines.list()[0].status is RunStatus.COMPLETED
    (version,) = data.data.list()
    assert version.version == 1
    (model,) = data.models.list()
    assert model.champion
    assert load_model(data.models.fetch(model.version)).metadata["data"]["sha256"] == version.sha256
    assert [path for path in data.state.steps.iterdir() if path.name.startswith(".")] == []


def wait_until_step_runs(
    platform: LocalPlatform, process: subprocess.Popen[str], step: str
) -> None:
    """Until the run says that the step runs; how far the step is by then is up to chance."""
    while process.poll() is None:
        for run in platform.pipelines.list()[:1]:
            if (step, RunStatus.RUNNING) in {(known.name, known.status) for known in run.steps}:
                return
        time.sleep(0.01)
    raise AssertionError(f"the run ended before {step}: {process.communicate()[0]}")


def test_a_full_disk_leaves_no_half_model(data: LocalPlatform, quick: str, tmp_path: Path) -> None:
    run = data.pipelines.run(load_pipeline(Path(quick)), {}, quiet)
    dataset = data.pipelines.output(run.id, "prepare", "dataset")
    output = tmp_path / "model"
    command = [
        *(sys.executable, "-m", "insurance_claims.training.train"),
        *("--dataset", str(dataset), "--output", str(output)),
        *("--parameters", str(tmp_path / "parameters.yml")),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_RUN_ID"}

    def no_room() -> None:
        # Every write beyond 4 KiB of a file fails, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, preexec_fn=no_room
    )
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    expected = data.pipelines.output(run.id, "train", "model") / "model.txt"
    assert (output / "model.txt").read_bytes() == expected.read_bytes()


def test_two_runs_at_once_leave_one_champion(data: LocalPlatform, quick: str) -> None:
    processes = [mlops("run", quick, "--json") for _ in range(2)]
    outcomes = []
    for process in processes:
        printed, _ = process.communicate(timeout=200)
        outcomes.append((process.returncode, printed))
    # Both were judged without a champion, and their models are the same: the second run finds the first one's.
    assert any(code == 0 for code, _ in outcomes), outcomes
    (model,) = data.models.list()
    assert model.champion
    for code, printed in outcomes:
        if code != 0:
            assert "run the pipeline again" in printed
    assert json.loads(model.tags["parameters"])["training"]
