"""Moving percentiles between versions: every step leaves an answer for every request."""

from __future__ import annotations

import itertools

import pytest

from ml_service.platforms.azureml.traffic import Move, Share, effective, next_move

SHARES = (0, 1, 10, 50, 90, 99, 100)
SPLITS = [
    dict(zip("abc", split, strict=True))
    for split in itertools.product(SHARES, repeat=3)
    if sum(split) == 100
]


def walk(shares: dict[str, Share], wanted: dict[str, int]) -> list[dict[str, Share]]:
    """The states on the way, the first one left out."""
    states = []
    while (move := next_move(shares, wanted)) is not None:
        shares = {
            name: Share(
                move.percent if name == move.name else share.percent,
                name == move.name if move.default else share.default,
            )
            for name, share in shares.items()
        }
        states.append(shares)
        assert len(states) < 10, f"no end: {move}"
    return states


@pytest.mark.parametrize("default", ["a", "b", "c"])
def test_every_way_ends_and_every_moment_answers_everything(default: str) -> None:
    for before, after in itertools.product(SPLITS, SPLITS):
        shares = {name: Share(percent, name == default) for name, percent in before.items()}
        states = [shares, *walk(shares, after)]
        assert {name: share.percent for name, share in states[-1].items()} == after
        assert [share.default for share in states[-1].values()].count(True) == 1
        for state in states:
            answers = effective(state)
            assert sum(answers.values()) == 100
            assert sum(share.percent for share in state.values()) <= 100
            # Nobody answers more on the way than before or after.
            for name, percent in answers.items():
                most = max(before[name], after[name])
                assert percent <= most or state[name].default, (before, after, states)


def test_a_canary_loses_its_share_with_the_first_change() -> None:
    shares = {"old": Share(10, True), "canary": Share(90, False)}
    assert next_move(shares, {"old": 100}) == Move("canary", 0, False)
    [first, last] = walk(shares, {"old": 100})
    assert effective(first) == effective(last) == {"old": 100, "canary": 0}


def test_production_answers_what_is_left_over_until_the_canary_has_everything() -> None:
    shares = {"old": Share(100, True), "canary": Share(0, False)}
    for share in (10, 50, 90):
        shares = walk(shares, {"old": 100 - share, "canary": share})[-1]
        assert shares["old"].default
    shares = walk(shares, {"canary": 100})[-1]
    assert shares == {"old": Share(0, False), "canary": Share(100, True)}


def test_what_is_reached_needs_no_change() -> None:
    shares = {"old": Share(90, True), "canary": Share(10, False)}
    assert next_move(shares, {"old": 90, "canary": 10}) is None


def test_what_was_left_half_way_is_completed() -> None:
    half = {"old": Share(50, True), "canary": Share(10, False)}
    assert effective(half) == {"old": 90, "canary": 10}
    assert effective(walk(half, {"old": 50, "canary": 50})[-1]) == {"old": 50, "canary": 50}
