"""What the processes of an endpoint use over time, and whether it grows."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import psutil
from scipy import stats

from ml_service.platforms.local.supervision import Supervisor

_WARM_UP = 0.25
"""Share of the samples, at the begin, that says nothing of growth: caches and pools fill."""
_BLOCKS = 20
"""Samples next to each other resemble each other; means of blocks hardly do."""


@dataclass(slots=True)
class Usage:
    """Samples of one process: seconds since the begin, memory in MB, open files."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a quantity grew from warm-up to the end: by the regression's slope, with its 95% interval."""

    value: float
    low: float
    high: float


def growth(seconds: Sequence[float], values: Sequence[float]) -> Growth:
    """The growth of samples that are evenly spaced.

    Raises:
        ValueError: too few for an interval.
    """
    first = int(_WARM_UP * len(seconds))
    if len(seconds) - first < _BLOCKS:
        raise ValueError(f"{len(seconds)} samples are too few to say whether something grows")
    times = [float(np.mean(part)) for part in np.array_split(seconds[first:], _BLOCKS)]
    means = [float(np.mean(part)) for part in np.array_split(values[first:], _BLOCKS)]
    if len(set(means)) == 1:
        return Growth(0.0, 0.0, 0.0)
    line = stats.linregress(times, means)
    length = seconds[-1] - seconds[first]
    half = float(stats.t.ppf(0.975, _BLOCKS - 2) * line.stderr)
    slope = float(line.slope)
    return Growth(slope * length, (slope - half) * length, (slope + half) * length)


def named(supervisor: Supervisor) -> dict[str, psutil.Process]:
    """Every process of an endpoint by what it is: supervisor, router, model-1, model-1 worker 1."""
    found = {}
    for name, state in supervisor.states().items():
        process = psutil.Process(state.pid)
        found[name] = process
        for number, worker in enumerate(process.children(recursive=True), 1):
            found[f"{name} worker {number}"] = worker
    known = {process.pid for process in found.values()}
    [above] = [process for process in supervisor.strays() if process.pid not in known]
    return {"supervisor": above, **found}


@contextmanager
def sampled(processes: Mapping[str, psutil.Process], interval: float) -> Iterator[dict[str, Usage]]:
    """Look at processes again and again while the block runs.

    Args:
        processes: by name.
        interval: seconds from one look to the next.

    Yields:
        What was seen so far; a process that ended has no further samples.
    """
    usage = {name: Usage() for name in processes}
    ended = threading.Event()
    began = time.monotonic()

    def look() -> None:
        for turn in itertools.count(1):
            for name, process in processes.items():
                with suppress(psutil.Error), process.oneshot():
                    memory, files = process.memory_info().rss / 2**20, process.num_fds()
                    usage[name].seconds.append(time.monotonic() - began)
                    usage[name].memory.append(memory)
                    usage[name].files.append(float(files))
            if ended.wait(max(0.0, began + turn * interval - time.monotonic())):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        ended.set()
        thread.join()
