"""A landing of each kind, with a platform that is quick."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims.data.synthesize import synthesize
from tests.azurite import AzuriteProcess, azurite
from tests.ml_service.ingestion.stand_in import StandIn

__all__ = ["azurite"]


class Landing:
    """Where a test drops files.

    Args:
        address: of the landing.
        folder: that it is; None: a container.
        container: that it is; None: a folder.
    """

    def __init__(self, address: str, folder: Path | None, container: object = None) -> None:
        self.address = address
        self._folder = folder
        self._container = container

    def drop(self, name: str, content: bytes | pd.DataFrame) -> None:
        """Write a file, or write it anew."""
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False).encode()
        if self._folder is None:
            self._container.upload_blob(name, content, overwrite=True)  # type: ignore[attr-defined]
            return
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture(scope="session")
def claims() -> pd.DataFrame:
    """400 valid rows; every 100 of them hold both kinds."""
    table = synthesize(400, seed=5)[0]
    table.loc[::20, "target"] = 1
    return table


@pytest.fixture
def folder(tmp_path: Path) -> Landing:
    """A folder."""
    path = tmp_path / "landing"
    path.mkdir()
    return Landing(str(path), path)


@pytest.fixture
def container(azurite: AzuriteProcess, monkeypatch: pytest.MonkeyPatch) -> Landing:
    """A container of Azurite."""
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    made = azurite.container()
    return Landing(f"{azurite.url}/{made.container_name}", None, made)


@pytest.fixture(params=["folder", "container"])
def landing(request: pytest.FixtureRequest) -> Iterator[Landing]:
    """Both kinds in turn."""
    yield request.getfixturevalue(request.param)


@pytest.fixture
def platform(tmp_path: Path) -> StandIn:
    """With nothing in it yet."""
    return StandIn(tmp_path / "home")
