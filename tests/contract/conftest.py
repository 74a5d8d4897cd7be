"""Each platform, with one training run behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from insurance_claims.data.synthesize import synthesize
from ml_service.pipeline import Pipeline, find_pipeline, load_pipeline
from ml_service.platforms.base import DataVersion, PipelineRun, Platform
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.settings import Settings, azure_settings, settings

ROWS = 12_000
CLAIM_RATE = 0.25
"""So many claims that training needs no folds, and few rows."""


@dataclass(frozen=True)
class Trained:
    """A platform on which training.yml ran once.

    Attributes:
        platform: the platform.
        file: the data file that was added.
        data: its version.
        pipeline: training.yml.
        run: the run.
        printed: what it printed.
    """

    platform: Platform
    file: Path
    data: DataVersion
    pipeline: Pipeline
    run: PipelineRun
    printed: list[str]


def _local(request: pytest.FixtureRequest, home: Path) -> Platform:
    shutil.copy(request.getfixturevalue("database"), home)
    return LocalPlatform(Settings.model_validate({"MLOPS_HOME": home}))


def _azureml(request: pytest.FixtureRequest, home: Path) -> Platform:
    from ml_service.platforms.azureml.platform import AzureMLPlatform

    return AzureMLPlatform(settings(), azure_settings())


PLATFORMS: Mapping[str, Callable[[pytest.FixtureRequest, Path], Platform]] = {
    "azureml": _azureml,
    "local": _local,
}


@pytest.fixture(scope="module")
def train(
    request: pytest.FixtureRequest, azure: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Trained]]:
    """Gives a platform by name, trained on the same synthetic rows; what was deployed is removed at the end.

    Args:
        request: of the fixture.
        azure: the workspace that azureml uses. It has to be there until all is removed.
        tmp_path_factory: of pytest.
    """
    file = tmp_path_factory.mktemp("data") / "claims.csv"
    synthesize(ROWS, 3, claim_rate=CLAIM_RATE)[0].to_csv(file, index=False)
    done: dict[str, Trained] = {}

    def get(name: str) -> Trained:
        if name not in done:
            home = tmp_path_factory.mktemp(name) / "state"
            home.mkdir()
            done[name] = _train(PLATFORMS[name](request, home), file)
        return done[name]

    yield get
    for trained in done.values():
        for endpoint in trained.platform.endpoints.list():
            trained.platform.endpoints.remove(endpoint.environment, trained.printed.append)


def _train(platform: Platform, file: Path) -> Trained:
    printed: list[str] = []
    data, new = platform.data.add("insurance_claims", file, printed.append)
    assert new
    pipeline = load_pipeline(find_pipeline("training"))
    run = platform.pipelines.run(pipeline, {}, printed.append)
    assert run.error is None, "\n".join(printed)
    return Trained(platform, file, data, pipeline, run, printed)


@pytest.fixture(scope="module", params=sorted(PLATFORMS))
def trained(request: pytest.FixtureRequest, train: Callable[[str], Trained]) -> Trained:
    """Each platform in turn."""
    return train(request.param)
