"""What counts as an answer, an error, and nothing at all."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from insurance_claims.monitoring.observations import Observations
from ml_service.platforms.local.exchange import Answer
from ml_service.platforms.local.observation_store import ObservationWriter, read_window
from ml_service.platforms.local.recording import Recorder, scores_of


@pytest.mark.parametrize(
    "content",
    ['{"result": [0.5, 0, 1, 1e-9]}', '{"model": {"version": 1}, "result": [0.031]}'],
)
def test_scores_of_a_sound_answer(content: str) -> None:
    assert scores_of(content.encode()) == json.loads(content)["result"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "3", '"result"', "{}"),
        *('{"result": null}', '{"result": 0.5}', '{"result": {}}', '{"result": "0.5"}'),
        *('{"result": []}', '{"result": [null]}', '{"result": [NaN]}', '{"result": ["0.5"]}'),
        *('{"result": [true]}', '{"result": [[0.5]]}', '{"result": [0.5, -1e-9]}'),
        *('{"result": [1.0000001]}', '{"result": [1e400]}', '{"result": [0.5, 2]}'),
    ],
)
def test_an_answer_without_probabilities_is_none(content: str) -> None:
    assert scores_of(content.encode()) is None


def test_everything_is_written_once_and_counted_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "observations.db"
    since = datetime.fromtimestamp(int(time.time()), UTC)

    async def record() -> None:
        recorder = Recorder(ObservationWriter(file))
        stop = asyncio.Event()
        running = asyncio.create_task(recorder.run(stop))
        recorder.answered(1, 2.0, Answer(200, [], b'{"result": [0.25, 0.5]}'))
        recorder.answered(1, 3.0, Answer(400, [], b"{}"))
        recorder.answered(1, 4.0, Answer(200, [], b'{"result": [7]}'))
        recorder.answered(1, 5.0, Answer(500, [], b"{}"))
        recorder.failed(1)
        recorder.shed(1)
        recorder.dropped(2)
        while not read_window(file, since, since).versions:
            await asyncio.sleep(0.05)
        recorder.answered(2, 6.0, Answer(200, [], b'{"result": [0.75]}'))
        stop.set()
        await running
        assert recorder.totals == {"shed": {1: 1}, "dropped_copies": {2: 1}}

    asyncio.run(record())
    window = read_window(file, since, since)
    # A bad request is no error of the version, an answer that is no probability is.
    assert window.of(1) == Observations.of([2.0, 3.0], [0.25, 0.5], errors=3)
    assert window.of(2) == Observations.of([6.0], [0.75])
