"""What every test shares."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from ml_service.platforms.local.platform import LocalPlatform
from ml_service.platforms.local.state import State
from ml_service.settings import Settings, azure_settings, settings
from tests.classification import skip_where_another_problem

if TYPE_CHECKING:
    from tests.azureml_emulator.process import EmulatorProcess

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Azure ML's SDK reads this when it is imported: nothing is sent to Microsoft.
os.environ.setdefault("HBI_WORKSPACE_JOB", "true")
# Tests run beside each other on a small machine: a second thread only waits for a processor, spinning. The limit holds
# whatever number of threads the parameters ask for; model texts are the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_THREAD_LIMIT", "1")
# The emulator's steps do not get the limit: their second thread sleeps while it waits. Where it spins beside other
# processes, training takes ten times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

# On a busy machine anything may take a second, once.
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")

SLOW = (
    *("tests/pipelines/test_runs.py", "tests/contract/test_contract.py"),
    *("tests/docs/test_azureml_walkthrough.py", "tests/contract/test_survival.py"),
    *("tests/contract/test_rollout.py", "tests/docs/test_defects.py"),
    *("tests/pipelines/test_data_pipelines.py", "tests/ml_service/ingestion/test_end_to_end.py"),
    *("tests/bootstrap/test_bootstrap.py", "tests/bootstrap/test_adapting.py"),
    *("tests/ml_service/cli/test_demo_data.py", "tests/ml_service/cli/test_demo_drift.py"),
)
"""Files that take minutes. They are begun first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow files first; the others stay in their order."""
    skip_where_another_problem(items, ROOT)
    places = {ROOT / name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One for all processes that run tests: who comes first makes it.
        folder = folder.parent
    folder /= "mlflow"
    folder.mkdir(exist_ok=True)
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


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """The emulator of Azure Machine Learning, one for each process that runs tests."""
    from tests.azureml_emulator.process import EmulatorProcess

    running = EmulatorProcess(tmp_path_factory.mktemp("emulator"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def azure(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an empty workspace of the emulator; the environment points to it.

    At the end: the emulator knew every call, and nothing tried to leave the machine.
    """
    name = f"ws-{uuid.uuid4().hex[:8]}"
    emulator.make_workspace(name)
    folder = tmp_path_factory.mktemp("azure")
    variables = {
        **emulator.environment,
        "WORKSPACE_NAME": name,
        "MLOPS_HOME": str(folder / "state"),
        # The SDK keeps caches there.
        "HOME": str(folder),
    }
    emulator.calls()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in variables.items():
            patch.setenv(key, value)
        patch.chdir(folder)
        settings.cache_clear()
        azure_settings.cache_clear()
        yield name
    settings.cache_clear()
    azure_settings.cache_clear()
    emulator.clear_faults()
    calls, refused = emulator.calls()
    unknown = [f"{call['method']} {call['path']}" for call in calls if call["status"] == 501]
    assert (unknown, refused) == ([], [])
