"""The emulator's time, which a test can move."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Real time, and what was added to it."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def seconds(self) -> float:
        """Since 1970, UTC."""
        return time.time() + self._ahead

    def move(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead += seconds

    def text(self) -> str:
        """This moment as Azure Machine Learning writes it."""
        moment = datetime.fromtimestamp(self.seconds(), UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0+00:00"
