"""The command line, and a platform with one registered model, for what must be refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml_service.cli import app
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.settings import Settings, settings
from tests.insurance_claims.register.test_register_model import NAME, folders, register

Refuse = Callable[..., str]


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Runs a command that has to be refused with one message and no traceback; gives the message."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mlops", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            app.main()
        printed = capfd.readouterr()
        assert end.value.code == 1
        assert printed.err.count("error: ") == 1
        assert "Traceback" not in printed.err
        assert printed.out == ""
        return printed.err.partition("error: ")[2]

    return run


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[LocalPlatform]:
    """A platform with version 1 of a model, which is the champion; the environment points to it."""
    home = tmp_path_factory.mktemp("state")
    shutil.copy(database, home)
    platform = LocalPlatform(Settings.model_validate({"MLOPS_HOME": home, "MODEL_NAME": NAME}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(home))
        patch.setenv("MODEL_NAME", NAME)
        patch.setenv("MLFLOW_TRACKING_URI", platform.state.tracking_uri)
        patch.chdir(home)
        settings.cache_clear()
        register(platform, folders(home, "promote"))
        yield platform
    settings.cache_clear()


@pytest.fixture
def stored(registered: LocalPlatform, tmp_path: Path) -> Iterator[Path]:
    """The folder in which the registry keeps version 1; whatever a test does to it is undone."""
    folder = Path(registered.models.get(1).source.removeprefix("file://"))
    kept = shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
