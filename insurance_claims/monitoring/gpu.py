"""What graphics cards do while a step runs, where NVIDIA's driver is there: asked of its own tool, nvidia-smi."""

from __future__ import annotations

import shutil
import subprocess
import threading
from statistics import mean

_TOOL = "nvidia-smi"
_QUERY = ("--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")
_BETWEEN_SECONDS = 5.0
_ANSWER_SECONDS = 2.0
"""An answer takes a fraction of a second; a driver that is in trouble takes for ever."""


class GpuWatch:
    """Looks at the machine's cards again and again from now on, in a thread. Where there is no driver, at nothing.

    A tool that fails or does not answer is not asked again.
    """

    def __init__(self) -> None:
        self._busy: list[float] = []
        self._memory: list[float] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        tool = shutil.which(_TOOL)
        if tool is not None:
            self._thread = threading.Thread(
                target=self._run, args=(tool,), name="graphics", daemon=True
            )
            self._thread.start()

    def end(self) -> dict[str, float]:
        """Look no more.

        Returns:
            ``gpu_percent``, how busy the cards were on average, and ``gpu_memory_mb``, the most memory that was used on
            all of them together; those of them that the driver tells.
        """
        self._ended.set()
        if self._thread is not None:
            # The one look of a step that was shorter than it.
            self._thread.join(_ANSWER_SECONDS / 2)
        figures = {}
        if self._busy:
            figures["gpu_percent"] = mean(self._busy)
        if self._memory:
            figures["gpu_memory_mb"] = max(self._memory)
        return figures

    def _run(self, tool: str) -> None:
        try:
            while True:
                self._look(tool)
                if self._ended.wait(_BETWEEN_SECONDS):
                    return
        except (OSError, subprocess.SubprocessError):
            return

    def _look(self, tool: str) -> None:
        answer = subprocess.run(
            [tool, *_QUERY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
        lines = answer.stdout.decode("ascii", "replace").splitlines()
        cards = [line.split(",") for line in lines if line.count(",") == 1]
        busy, memory = ([_number(card[place]) for card in cards] for place in (0, 1))
        told = [value for value in busy if value is not None]
        used = [value for value in memory if value is not None]
        self._busy += [mean(told)] if told else []
        self._memory += [sum(used)] if used else []


def _number(text: str) -> float | None:
    # A card that does not tell says [N/A] or [Not Supported].
    try:
        return float(text)
    except ValueError:
        return None
