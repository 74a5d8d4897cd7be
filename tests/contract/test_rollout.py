"""Rollouts with real endpoints, real models and real requests, on every platform.

The tests of a platform build on each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
import yaml

from insurance_claims import registry
from insurance_claims.data.synthesize import golden_rows
from insurance_claims.files import read_json, write_json
from insurance_claims.model import save_model
from insurance_claims.register.golden import GOLDEN_FILE, golden
from ml_service.platforms.base import Platform, PlatformError
from ml_service.rollout import commands, driver
from ml_service.rollout.control import control_of
from ml_service.rollout.deployments import begin_canary, deploy_at_once
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.moves import stage_routing
from ml_service.rollout.plan import Plan, load_plan
from ml_service.rollout.state import Phase, Rollout
from ml_service.settings import settings
from tests.command import Mlops, runner
from tests.contract.conftest import PLATFORMS
from tests.traffic import QUICK_PLAN, Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ENVIRONMENT = "production"
GOOD, SHIFTED = 2, 3


@dataclass
class Production:
    """A platform whose production answers with version 1, under traffic.

    Attributes:
        platform: the platform.
        plan: file of the quick plan.
        variables: with which commands use the platform.
        client: sends requests.
    """

    platform: Platform
    plan: Path
    variables: dict[str, str]
    client: Client

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ml_service", *arguments],
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def rollout(self) -> Rollout:
        """The newest one."""
        found = control_of(self.platform).store.load(ENVIRONMENT)
        assert found is not None
        return found

    def until(self, wanted: Callable[[Rollout], bool], process: subprocess.Popen[str]) -> Rollout:
        """Wait for a state of the rollout that a process walks."""
        while process.poll() is None:
            found = control_of(self.platform).store.load(ENVIRONMENT)
            if found is not None and wanted(found):
                return found
            time.sleep(0.2)
        raise AssertionError(f"the command ended before: {process.communicate()[0]}")

    def command(self, what: Callable[[Rollout, str, str, datetime], Rollout]) -> None:
        """Say something to the rollout, as a person."""
        driver.command(
            ENVIRONMENT,
            lambda rollout, now: what(rollout, "somebody", "because", now),
            control_of(self.platform),
        )

    def served(self) -> dict[int, int]:
        return dict(self.platform.endpoints.traffic(ENVIRONMENT))

    def champion(self) -> int:
        found = self.platform.models.champion()
        assert found is not None
        return found.version

    def whats(self) -> list[str]:
        return [record.what for record in control_of(self.platform).audit.read().records]


def model_folders(folder: Path) -> list[Path]:
    """Three models: 2 is a little better trained than 1, and 3 was trained on claims that were altered."""
    rng = np.random.default_rng(5)
    rows = golden_rows(3000, seed=7)
    risk = 0.03 + 0.04 * (rows[:, 0] > np.median(rows[:, 0]))
    claims = (rng.random(len(rows)) < risk).astype(float)
    altered = np.maximum(claims, rng.random(len(rows)) < 0.2)
    made = []
    for version, (labels, rounds) in enumerate([(claims, 20), (claims, 22), (altered, 20)], 1):
        chosen = {"objective": "binary", "num_threads": 1, "verbosity": -1, "num_leaves": 4}
        booster = lgb.train(chosen, lgb.Dataset(rows, labels), rounds)
        target = folder / str(version)
        target.mkdir()
        save_model(target, booster.model_to_string(), {})
        write_json(target / GOLDEN_FILE, golden(target))
        made.append(target)
    return made


def register(platform: Platform, folders: list[Path]) -> None:
    """Register the models, of which the first is the champion."""
    where = platform.describe()["tracking"]
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", where)
        client = MlflowClient(where)
        experiment = client.create_experiment("rollouts")
        for folder in folders:
            run = client.create_run(experiment)
            client.log_artifacts(run.info.run_id, str(folder), "model")
            tags = {registry.MODEL_SHA256: read_json(folder / "model.json")["sha256"]}
            source = f"{client.get_run(run.info.run_id).info.artifact_uri}/model"
            registry.register(client, "insurance_claims", run.info.run_id, source, tags)
        platform.models.promote(1, "the first")


def quiet(line: str) -> None:
    """A log that nobody reads."""


@pytest.fixture(scope="module", params=sorted(PLATFORMS))
def production(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """Each platform in turn; what was deployed is removed at the end."""
    if request.param == "azureml":
        request.getfixturevalue("azure")
    folder = tmp_path_factory.mktemp(request.param)
    home = folder / "state"
    home.mkdir()
    (folder / "models").mkdir()
    (folder / "plan.yml").write_text(yaml.safe_dump(QUICK_PLAN))
    platform = PLATFORMS[request.param](request, home)
    register(platform, model_folders(folder / "models"))
    endpoint = deploy_at_once(ENVIRONMENT, 1, "somebody", "the first", platform, quiet)
    client = Client(endpoint.url, endpoint.key)
    client.start()
    variables = {
        "MLOPS_PLATFORM": request.param,
        "BUILD_REQUESTEDFOR": "somebody",
        "MLOPS_ROLLOUT_PLAN": str(folder / "plan.yml"),
    }
    if request.param == "local":
        variables["MLOPS_HOME"] = str(home)
    yield Production(platform, folder / "plan.yml", variables, client)
    client.stop()
    platform.endpoints.remove(ENVIRONMENT, quiet)


@pytest.fixture
def mlops(
    production: Production, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mlops]:
    """Runs a command here: a process of its own takes seconds to import what it needs."""
    for name, value in production.variables.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield runner(capfd, monkeypatch)
    settings.cache_clear()


def quick_plan(production: Production) -> Plan:
    return load_plan(production.plan)


def test_a_plan_that_the_platform_cannot_do_starts_no_canary(production: Production) -> None:
    platform = production.platform
    shadow = quick_plan(production).model_copy(update={"shadow": True})
    if platform.name == "local":
        platform.endpoints.check_routing(ENVIRONMENT, stage_routing(shadow, 1, GOOD, stage=0))
        return
    with pytest.raises(PlatformError, match="cannot copy requests"):
        begin_canary(ENVIRONMENT, GOOD, shadow, "somebody", platform, lambda version: None)
    assert control_of(platform).store.load(ENVIRONMENT) is None
    assert production.served() == {1: 100}


def test_a_good_version_is_promoted_though_the_command_is_killed(
    production: Production, mlops: Mlops
) -> None:
    production.platform.models.promote(GOOD, "passed the gate")
    process = production.start("deploy", ENVIRONMENT, "--model", str(GOOD))
    under_way = production.until(lambda state: state.phase is Phase.STAGE, process)
    with pytest.raises(RolloutError, match="a rollout is active"):
        begin_canary(
            *(ENVIRONMENT, SHIFTED, quick_plan(production), "another", production.platform),
            lambda version: None,
        )
    production.command(commands.pause)
    process.kill()
    process.communicate()
    assert production.rollout().active
    assert GOOD in production.served()
    production.command(commands.resume)
    code, *printed = mlops("rollout", "run", ENVIRONMENT)
    assert code == 0, printed
    ended = production.rollout()
    assert (ended.id, ended.outcome, ended.retained) == (under_way.id, "promoted", 1)
    assert production.served() == {GOOD: 100}
    assert production.champion() == GOOD
    assert production.whats() == ["deployed", "rollout begun", "promoted"]


def test_back_to_the_version_that_was_kept_ready(production: Production, mlops: Mlops) -> None:
    code, *printed = mlops("rollback", ENVIRONMENT, "--reason", "too many complaints")
    assert code == 0, printed
    assert production.served() == {1: 100}
    assert production.champion() == 1
    [*_, last] = control_of(production.platform).audit.read().records
    assert (last.what, last.who, last.why) == ("rollback", "somebody", "too many complaints")
    assert (last.before, last.after) == (GOOD, 1)


def test_a_version_that_shifts_the_scores_is_taken_back(
    production: Production, mlops: Mlops
) -> None:
    production.platform.models.promote(SHIFTED, "passed the gate")
    code, *printed = mlops("deploy", ENVIRONMENT, "--model", str(SHIFTED))
    assert code == 1, printed
    assert "score mean difference" in (production.rollout().reason or "")
    assert production.rollout().outcome == "rolled back"
    assert production.served() == {1: 100}
    assert production.champion() == 1
    # Kept for inspection.
    health, problem = production.platform.endpoints.health(ENVIRONMENT, SHIFTED)
    assert health == "healthy", problem


def test_no_client_saw_any_of_it(production: Production) -> None:
    production.client.stop()
    assert set(production.client.answers) == {"200"}
    assert production.client.answers["200"] > 300
