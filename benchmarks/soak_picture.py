"""The picture of a soak: latency, memory, and what became of the requests of the overload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.open_loop import Answers  # noqa: E402
from benchmarks.processes import Usage  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 60


def draw(soak: Answers, overload: Answers, usage: Mapping[str, Usage], path: Path) -> None:
    """Write the picture as PNG.

    Args:
        soak: answers of the soak.
        overload: answers from the minute before the overload to the minute after it.
        usage: of each process.
        path: of the picture.
    """
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), layout="constrained")
    try:
        _latency(axes[0, 0], soak, 200, "soak: latency of answers")
        _memory(axes[0, 1], usage)
        _outcome(axes[1, 0], overload)
        _latency(axes[1, 1], overload, 200, "before, in and after the overload: latency")
        if (overload.status == 503).any():
            _latency(axes[1, 1], overload, 503, "before, in and after the overload: latency")
        figure.savefig(path, dpi=110)
    finally:
        plt.close(figure)


def _latency(axes: Axes, answers: Answers, status: int, title: str) -> None:
    chosen = answers.status == status
    edges = np.linspace(0, answers.start.max(), _BINS + 1)
    place = np.clip(np.digitize(answers.start[chosen], edges) - 1, 0, _BINS - 1)
    found = [answers.latency_ms[chosen][place == number] for number in range(_BINS)]
    for share in (0.5, 0.99):
        line = [np.quantile(part, share) if len(part) else np.nan for part in found]
        axes.plot(edges[:-1], line, label=f"{status}, p{100 * share:g}")
    axes.set(title=title, xlabel="seconds", ylabel="ms", yscale="log")
    axes.legend(fontsize="small")


def _memory(axes: Axes, usage: Mapping[str, Usage]) -> None:
    for name, own in usage.items():
        axes.plot(own.seconds, own.memory, label=name)
    axes.set(title="soak: memory", xlabel="seconds", ylabel="MB", ylim=(0, None))
    axes.legend(fontsize="x-small")


def _outcome(axes: Axes, overload: Answers) -> None:
    edges = np.linspace(0, overload.start.max(), _BINS + 1)
    width = edges[1] - edges[0]
    for status in sorted({int(status) for status in overload.status}):
        counts, _ = np.histogram(overload.start[overload.status == status], edges)
        axes.plot(edges[:-1], counts / width, label=str(status) if status else "no answer")
    axes.set(
        title="before, in and after the overload: requests by answer",
        xlabel="seconds",
        ylabel="a second",
    )
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
