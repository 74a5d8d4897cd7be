"""Files that another service claimed and processed, as Data Factory does: their rows become a version all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from insurance_claims.ingestion.batch import Batch, batch_to_json, control_file
from ml_service.pipeline import find_pipeline, load_pipeline
from tests.ml_service.ingestion.stand_in import (
    DATA,
    StandIn,
    everything,
    ingestor,
    quiet,
    statuses,
)

BATCH = "20261120t080000-0123abcd"


def claim(landing: Any) -> Batch:
    """Write the list of a batch of all that is in the landing, as the other service does."""
    place = ingestor(StandIn(landing.home), landing.address).landing
    files = tuple(file.claim for file in place.list())
    batch = Batch(BATCH, "2026-11-20", files)
    place.write_control(control_file(BATCH), batch_to_json(batch))
    return batch


@pytest.fixture
def dropped(landing: Any, platform: StandIn, claims: pd.DataFrame) -> Any:
    """A landing with two files, which know their platform."""
    landing.drop("january.csv", claims[:150])
    landing.drop("february.csv", claims[150:300])
    landing.home = platform.pipelines.home
    return landing


def test_what_it_processed_becomes_a_version_without_a_second_run(
    dropped: Any, platform: StandIn
) -> None:
    claim(dropped)
    pipeline = load_pipeline(find_pipeline("ingestion"))
    parameters = {"landing": dropped.address, "batch": BATCH, "max_bad": "0.05"}
    theirs = platform.pipelines.run(pipeline, parameters, quiet)
    made = ingestor(platform, dropped.address)
    [record] = made.handle(everything(made))
    assert (record.batch, record.run, record.data_version) == (BATCH, theirs.id, 1)
    assert [run.id for run in platform.pipelines.list()] == [theirs.id]
    assert statuses(platform, made) == {"january.csv": ["accepted"], "february.csv": ["accepted"]}
    assert made.landing.batch_lists() == []
    # Once, also where the list is written again.
    claim(dropped)
    made.handle(everything(made))
    assert made.landing.batch_lists() == []
    assert statuses(platform, made) == {"january.csv": ["accepted"], "february.csv": ["accepted"]}
    assert [version.version for version in platform.data.list(DATA)] == [1]


def test_what_it_is_about_to_process_is_left_to_it(
    dropped: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    claim(dropped)
    dropped.drop("march.csv", claims[300:])
    made = ingestor(platform, dropped.address)
    made.handle(everything(made))
    assert statuses(platform, made) == {"march.csv": ["accepted"]}
    assert [control.name for control in made.landing.batch_lists()] == [control_file(BATCH)]


def test_what_it_never_processed_is_taken_over(dropped: Any, platform: StandIn) -> None:
    claim(dropped)
    later = datetime.now(UTC) + timedelta(minutes=11)
    made = ingestor(platform, dropped.address, clock=lambda: later)
    [record] = made.handle([])
    assert (record.batch, record.data_version) == (BATCH, 1)
    assert len(platform.pipelines.list()) == 1


def test_a_list_that_is_none_stops_nobody(dropped: Any, platform: StandIn) -> None:
    made = ingestor(platform, dropped.address)
    made.landing.write_control(control_file("broken"), b'{"id": 3')
    made.handle(everything(made))
    assert set(statuses(platform, made)) == {"january.csv", "february.csv"}
    assert [control.name for control in made.landing.batch_lists()] == [control_file("broken")]
