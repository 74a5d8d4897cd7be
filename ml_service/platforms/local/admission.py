"""How many requests a model version may have in hand before the router refuses more.

A burst passes: its requests wait for a moment, and all are answered. A queue that stands, because more comes than the
version can do, makes everybody wait and nobody faster, so it must not form. How long a queue has been there tells the
one from the other (Nichols and Jacobson, Controlling queue delay, ACM Queue 10(5), 2012).
"""

from __future__ import annotations

from dataclasses import dataclass, field

BURST, STANDING, FEW = 128, 6, 2
"""Requests for each worker: the most in a burst, the most in a standing queue, and what is no queue."""

PERIOD_SECONDS, SHRINKS = 0.25, 0.8
"""A queue stands that was never short in two periods, and in the second one not below this share of what it was in the
first at its shortest: what a pause has left behind gets less by itself. So does one that is longer than a burst."""

CALM_SECONDS, CALM_SHARE = 1.0, 0.05
"""A standing queue is over after so long in which at most this share of the requests was refused. That the queue is
short says nothing then: the limit alone keeps it short."""


@dataclass(slots=True)
class Admission:
    """Lets requests to one version in, or not.

    Attributes:
        workers: what works on requests at the same time.
    """

    workers: int
    _stands: bool = field(default=False, init=False)
    _began: float = field(default=0.0, init=False)
    _shortest: int = field(default=0, init=False)
    _shortest_before: int = field(default=0, init=False)
    _asked: int = field(default=0, init=False)
    _refused: int = field(default=0, init=False)

    def admits(self, in_hand: int, now: float) -> bool:
        """Whether a version takes one more request.

        Args:
            in_hand: requests that it has not answered yet.
            now: seconds, of any clock that is monotonic.
        """
        period = CALM_SECONDS if self._stands else PERIOD_SECONDS
        lasted = now - self._began
        if lasted >= period:
            # Where nobody asked for long, what was before that says nothing of now.
            recent = lasted < 2 * period
            self._stands = recent and self._found_standing()
            self._shortest_before = self._shortest if recent else 0
            self._began, self._shortest, self._asked, self._refused = now, in_hand, 0, 0
        self._shortest = min(self._shortest, in_hand)
        admitted = in_hand < self.workers * (STANDING if self._stands else BURST)
        if not admitted and not self._stands:
            self._stands, self._began, self._asked, self._refused = True, now, 0, 0
        self._asked += 1
        self._refused += not admitted
        return admitted

    def _found_standing(self) -> bool:
        """What the period that is over says of the queue."""
        if self._stands:
            return self._refused > CALM_SHARE * self._asked
        least = max(self.workers * FEW, SHRINKS * self._shortest_before)
        return self._shortest_before > self.workers * FEW and self._shortest > least
