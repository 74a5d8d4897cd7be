"""What a soak promises: each promise is kept by a good endpoint, and broken by one that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import soak
from benchmarks.open_loop import NO_ANSWER, Answers
from benchmarks.processes import Usage, growth
from benchmarks.soak import Measured, Promise, judge

SECONDS = [float(second) for second in range(200)]


def _answers(accepted: int, refused: int, latency: float = 10.0, refusal: float = 5.0) -> Answers:
    status = np.array([200] * accepted + [503] * refused)
    return Answers(
        start=np.linspace(0, 10, len(status)),
        late_ms=np.zeros(len(status)),
        latency_ms=np.where(status == 200, latency, refusal),
        status=status,
        retry_after=status == 503,
        seconds=10.0,
    )


def _usage(memory: float = 0.0, files: float = 0.0) -> Usage:
    """Samples that wobble, and grow by so much a second."""
    wobble = np.random.default_rng(4).normal(0, 0.5, len(SECONDS))
    times = np.array(SECONDS)
    return Usage(
        list(SECONDS),
        (200 + memory * times + wobble).tolist(),
        (20 + files * times + wobble).tolist(),
    )


GOOD = Measured(
    capacity=500,
    soak=_answers(4000, 0, 30),
    capacity_then=450,
    before=_answers(400, 0),
    overload=_answers(5000, 4000, 15),
    after=_answers(390, 10),
    usage={"router": _usage()},
    ended=[],
)


def _broken(measured: Measured) -> list[Promise]:
    return [promise for promise in judge(measured) if not promise.held]


def test_a_good_endpoint_keeps_every_promise() -> None:
    assert _broken(GOOD) == []
    assert len(judge(GOOD)) == 7


def _with(answers: Answers, status: int, retry_after: bool) -> Answers:
    """The same with another last answer."""
    statuses, after = answers.status.copy(), answers.retry_after.copy()
    statuses[-1], after[-1] = status, retry_after
    return replace(answers, status=statuses, retry_after=after)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda good: replace(good, soak=_with(good.soak, 503, True)), "soak: every request"),
        (lambda good: replace(good, soak=_with(good.soak, NO_ANSWER, False)), "soak: every"),
        (lambda good: replace(good, ended=["model-1"]), "no process dies"),
        (lambda good: replace(good, usage={"router": _usage(0.05)}), "memory of router"),
        (lambda good: replace(good, usage={"router": _usage(0, 0.05)}), "files of router"),
        (lambda good: replace(good, overload=_with(good.overload, 500, False)), "each answer"),
        (lambda good: replace(good, overload=_with(good.overload, 503, False)), "each answer"),
        (
            lambda good: replace(good, overload=_with(good.overload, NO_ANSWER, False)),
            "each answer",
        ),
        (lambda good: replace(good, overload=_answers(9000, 0)), "excess is refused"),
        (lambda good: replace(good, overload=_answers(5000, 4000, 15, 150)), "excess is refused"),
        (lambda good: replace(good, overload=_answers(5000, 4000, 21)), "accepted's p99"),
        (lambda good: replace(good, overload=_answers(0, 9000)), "accepted's p99"),
    ],
)
def test_a_promise_that_is_not_kept_is_found(
    spoil: Callable[[Measured], Measured], text: str
) -> None:
    [broken] = _broken(spoil(GOOD))
    assert text in broken.text


def test_growth_is_told_from_noise_and_from_warming_up() -> None:
    rising = growth(SECONDS, _usage(memory=0.05).memory)
    # From a quarter of 200 s on.
    assert rising.low < 0.05 * 149 < rising.high
    assert rising.low > 0
    level = growth(SECONDS, _usage().memory)
    assert level.low < 0 < level.high
    warming = [min(second, 40.0) for second in SECONDS]
    assert growth(SECONDS, warming).value == 0
    with pytest.raises(ValueError, match="too few"):
        growth(SECONDS[:20], SECONDS[:20])


@pytest.mark.parametrize(("measured", "code"), [(GOOD, 0), (replace(GOOD, ended=["router"]), 1)])
def test_the_exit_code_says_whether_all_is_kept(
    measured: Measured,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(soak, "measure", lambda plan: measured)
    monkeypatch.setattr("sys.argv", ["soak", "--quick", "--output", str(tmp_path / "new")])
    if code:
        with pytest.raises(SystemExit, match="not held: no process dies"):
            soak.main()
    else:
        soak.main()
    assert ("| NO |" in capsys.readouterr().out) == bool(code)
    written = json.loads((tmp_path / "new" / "soak.json").read_text())
    assert written["capacity_per_second"] == 500
    assert written["overload"]["by_status"]["503"]["requests"] == 4000
    assert written["after"]["by_status"]["503"]["requests"] == 10
    assert all(promise["held"] for promise in written["promises"]) == (not code)
    assert (tmp_path / "new" / "soak.png").read_bytes().startswith(b"\x89PNG")
