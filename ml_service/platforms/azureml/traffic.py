"""How the versions of an AKS endpoint share its requests, and how shares are changed without losing one.

Azure changes one version at a time. What the versions' percentiles leave over is answered by the default version, so
that shares are first taken and then given, and every moment between has an answer for every request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What a version is assigned.

    Attributes:
        percent: its percentile.
        default: whether it answers what no version is assigned.
    """

    percent: int
    default: bool


@dataclass(frozen=True, slots=True)
class Move:
    """One change of one version.

    Attributes:
        name: of the version.
        percent: its new percentile.
        default: whether it becomes the default version.
    """

    name: str
    percent: int
    default: bool


def effective(shares: Mapping[str, Share]) -> dict[str, int]:
    """Percent of requests that each version answers."""
    answers = {name: share.percent for name, share in shares.items()}
    for name, share in shares.items():
        if share.default:
            answers[name] += 100 - sum(answers.values())
    return answers


def next_move(shares: Mapping[str, Share], wanted: Mapping[str, int]) -> Move | None:
    """The next change on the way to the wanted percentiles; None when they are reached.

    The default version stays the same as long as it is to answer anything: a canary's share then goes back to
    production with the first change.

    Args:
        shares: of every version, now.
        wanted: percent of some of them, with the sum 100; the others get none.
    """
    goal = {name: wanted.get(name, 0) for name in shares}
    default = next((name for name, share in shares.items() if share.default), None)
    if default is None or not goal[default]:
        default = max(goal, key=lambda name: goal[name])
    for name, share in shares.items():
        if goal[name] < share.percent:
            return Move(name, goal[name], False)
    # The version that is to be the default comes last: until then the one before it answers what is left over.
    for name in sorted(shares, key=lambda name: name == default):
        becomes = name == default and not shares[name].default
        if goal[name] > shares[name].percent or becomes:
            return Move(name, goal[name], becomes)
    return None
