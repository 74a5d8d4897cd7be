"""Each platform, with one training run behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from insurance_claims.data.synthesize import write_synthetic
from ml_service.pipeline import Pipeline, find_pipeline, load_pipeline
from ml_service.platforms.base import DataVersion, PipelineRun, Platform
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.settings import Settings

ROWS = 20_000


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


def _local(home: Path) -> Platform:
    return LocalPlatform(Settings.model_validate({"MLOPS_HOME": home}))


PLATFORMS: dict[str, Callable[[Path], Platform]] = {"local": _local}


@pytest.fixture(scope="module", params=sorted(PLATFORMS))
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: Path
) -> Iterator[Trained]:
    """One training run on synthetic rows; whatever was deployed is removed at the end."""
    folder = tmp_path_factory.mktemp(request.param)
    home = folder / "state"
    home.mkdir()
    shutil.copy(database, home)
    file = folder / "claims.csv"
    write_synthetic(file, ROWS, seed=3)
    platform = PLATFORMS[request.param](home)
    printed: list[str] = []
    try:
        data, new = platform.data.add("insurance_claims", file, printed.append)
        assert new
        pipeline = load_pipeline(find_pipeline("training"))
        run = platform.pipelines.run(pipeline, {}, printed.append)
        assert run.error is None, "\n".join(printed)
        yield Trained(platform, file, data, pipeline, run, printed)
    finally:
        for endpoint in platform.endpoints.list():
            platform.endpoints.remove(endpoint.environment, printed.append)
