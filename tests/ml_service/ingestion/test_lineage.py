"""Back from a model to its files, and forward from a file to its models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.registry import ModelVersion
from ml_service.ingestion.lineage import of_data, of_file, of_model
from ml_service.platforms.base import PlatformError
from tests.ml_service.ingestion.stand_in import DATA, StandIn, everything, ingestor, quiet


class Models:
    """A registry with one model for each of some data versions."""

    def __init__(self, *versions: int) -> None:
        self._models = [
            ModelVersion(
                name="m",
                version=number,
                created="",
                run_id="",
                source="",
                tags={"data_name": DATA, "data_version": str(version)},
                champion=False,
            )
            for number, version in enumerate(versions, start=1)
        ]

    def list(self) -> list[ModelVersion]:
        return self._models[::-1]

    def get(self, number: int) -> ModelVersion:
        return self._models[number - 1]


@pytest.fixture
def history(platform: Any, folder: Any, claims: pd.DataFrame, tmp_path: Path) -> StandIn:
    """Versions 1 and 2 of dropped files, 3 added by hand, 4 of a dropped file; models on 1, 2 and 4."""
    made = ingestor(platform, folder.address)
    for name, rows in (("a.csv", claims[:100]), ("b.csv", claims[100:200])):
        folder.drop(name, rows)
        folder.drop(f"bad-{name}", b"")
        made.handle(everything(made))
    claims[200:300].to_csv(tmp_path / "by_hand.csv", index=False)
    platform.data.add(DATA, tmp_path / "by_hand.csv", quiet)
    folder.drop("c.csv", claims[300:])
    made.handle(everything(made))
    platform.models = Models(1, 2, 4)
    return platform  # type: ignore[no-any-return]


def test_back_from_a_model(history: Any) -> None:
    found = of_model(history, 2)
    assert [(item.name, item.data_version, item.rows) for item in found.files] == [
        *[("a.csv", 1, 100), ("b.csv", 2, 100)]
    ]
    assert [item.version for item in found.versions] == [1, 2]
    assert found.models == ((2, 2),)
    for item in found.files:
        assert item.run is not None
        assert history.pipelines.get(item.run).parameters["batch"] == item.batch
    made = {item.source for item in found.versions}
    assert made == {f"ingestion-{item.batch}.parquet" for item in found.files}


def test_what_was_added_by_hand_ends_the_way_back(history: Any) -> None:
    found = of_model(history, 3)
    assert [item.name for item in found.files] == ["c.csv"]
    assert [item.version for item in found.versions] == [3, 4]
    assert of_data(history, DATA, "3").files == ()


def test_forward_from_a_file(history: Any) -> None:
    found = of_file(history, DATA, "a.csv")
    assert [item.version for item in found.versions] == [1, 2]
    assert found.models == ((1, 1), (2, 2))
    by_hash = of_file(history, DATA, found.files[0].sha256[:12])
    assert by_hash == found
    assert of_file(history, DATA, "c.csv").models == ((3, 4),)


@pytest.mark.parametrize("name", ["bad-a.csv", "nothing.csv", ""])
def test_a_file_that_was_not_accepted_is_refused(history: Any, name: str) -> None:
    with pytest.raises(PlatformError, match="was accepted into claims"):
        of_file(history, DATA, name)


def test_a_model_that_says_nothing_of_its_data_is_refused(history: Any) -> None:
    history.models._models[0] = replace(history.models._models[0], tags={})
    with pytest.raises(PlatformError, match="does not say which data"):
        of_model(history, 1)
