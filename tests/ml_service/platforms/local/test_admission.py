"""How many requests a version takes: simulated, with a worker that needs two milliseconds for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ml_service.platforms.local.admission import BURST, CALM_SECONDS, STANDING, Admission

SERVICE_SECONDS = 0.002


class Version:
    """One worker that answers requests in turn.

    Args:
        workers: that the admission is told of.
    """

    def __init__(self, workers: int = 1) -> None:
        self.admission = Admission(workers)
        self.now = 1000.0
        self._free = self.now
        self._ends: list[float] = []

    def pause(self, seconds: float) -> None:
        """Answer nothing for a while."""
        self._free = max(self._free, self.now) + seconds

    def ask(self) -> float | None:
        """Seconds until a request is answered; None where it is refused."""
        self._ends = [end for end in self._ends if end > self.now]
        if not self.admission.admits(len(self._ends), self.now):
            return None
        self._free = max(self._free, self.now) + SERVICE_SECONDS
        self._ends.append(self._free)
        return self._free - self.now

    def load(self, share: float, seconds: float) -> list[float | None]:
        """Requests at a share of what the worker can do, evenly spaced."""
        begin = self.now
        answers = []
        for after in np.arange(0, seconds, SERVICE_SECONDS / share).tolist():
            self.now = begin + after
            answers.append(self.ask())
        self.now = begin + seconds
        return answers

    def burst(self, count: int) -> int:
        """How many of so many requests at once are taken."""
        return sum(self.ask() is not None for _ in range(count))


def _refused(answers: Sequence[float | None]) -> float:
    return answers.count(None) / len(answers)


def _longest(answers: Sequence[float | None]) -> float:
    return max(seconds for seconds in answers if seconds is not None)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_burst_is_taken_up_to_a_limit(workers: int) -> None:
    assert Version(workers).burst(BURST * workers + 50) == BURST * workers


def test_nothing_is_refused_of_what_a_version_can_do() -> None:
    assert _refused(Version().load(0.95, 60)) == 0


def test_a_pause_is_waited_for() -> None:
    version = Version()
    version.load(0.8, 5)
    for _ in range(3):
        version.pause(0.15)
        assert _refused(version.load(0.8, 5)) == 0


@pytest.mark.parametrize("share", [1.2, 2.0, 8.0])
def test_a_queue_that_stands_is_kept_short_as_long_as_too_much_comes(share: float) -> None:
    version = Version()
    version.load(share, 1.5)
    answers = version.load(share, 30)
    assert _longest(answers) <= STANDING * SERVICE_SECONDS + 1e-9
    # And the worker is never idle: as many as it can do are answered.
    assert _refused(answers) == pytest.approx(1 - 1 / share, abs=0.01)


def test_no_more_than_a_burst_waits_before_a_queue_is_known_to_stand() -> None:
    assert _longest(Version().load(4, 10)) <= BURST * SERVICE_SECONDS + 1e-9


def test_a_burst_is_taken_again_after_a_calm_while() -> None:
    version = Version()
    version.load(2, 5)
    version.load(0.7, CALM_SECONDS / 2)
    assert version.burst(BURST) <= STANDING
    version.load(0.7, 2 * CALM_SECONDS)
    # What a calm version has in hand counts, too.
    assert version.burst(BURST) >= BURST - 2


def test_what_is_left_of_too_large_a_burst_is_soon_forgotten() -> None:
    version = Version()
    version.burst(2 * BURST)
    version.load(0.8, 3 * CALM_SECONDS)
    assert _refused(version.load(0.8, 30)) == 0


def test_a_burst_is_taken_after_nothing_was_asked() -> None:
    version = Version()
    version.load(2, 5)
    version.now += 3 * CALM_SECONDS
    assert version.burst(BURST) == BURST
