"""What every test shares."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from ml_service.platforms.local.platform import LocalPlatform
from ml_service.platforms.local.state import State
from ml_service.settings import Settings, settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Two tests run at a time on a small machine: threads beyond that only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Rows of Kaggle's own file, which cannot be part of the repository."""
    path = Path(
        os.environ.get("MLOPS_REAL_DATA", ROOT.parent / "shared/data/porto_seguro_train.csv")
    )
    if not path.is_file():
        pytest.skip("no real data: set MLOPS_REAL_DATA to Kaggle's train.csv to run this test")
    return path


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: making one takes seconds, copying it takes none."""
    folder = tmp_path_factory.mktemp("mlflow")
    state = State(folder)
    # The default experiment's files go to the folder in which the database was made.
    with contextlib.chdir(folder):
        _ = state.mlflow
    return folder / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with nothing in it yet; the environment points to it."""
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(database, folder)
    monkeypatch.setenv("MLOPS_HOME", str(folder))
    # Neither a developer's .env nor the repository as MLflow's default place for files.
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    return folder


@pytest.fixture
def local(home: Path) -> LocalPlatform:
    """A local platform with nothing in it yet."""
    return LocalPlatform(Settings.model_validate({"MLOPS_HOME": home}))
