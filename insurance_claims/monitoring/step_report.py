"""What a step of a pipeline reports of itself: begin, end, time, what it used, rows, warnings, and why it failed."""

from __future__ import annotations

import logging
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from insurance_claims import telemetry
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from insurance_claims.monitoring.gpu import GpuWatch

STARTED = "step_started"
ENDED = "step_ended"
"""Names of the events. Both have the property ``step``; the second ``outcome``: completed, failed or interrupted."""


@contextmanager
def reported(step: str, output: Path | None) -> Iterator[None]:
    """Report the step that runs in the block. Nothing happens where telemetry is off.

    The end is sent within a moment or not at all: a sink that is gone does not hold the step up.

    Args:
        step: name of its module.
        output: folder that it writes; says afterwards how many rows there were.
    """
    emitter = telemetry.emitter("training")
    if emitter is None:
        yield
        return
    emitter.event(STARTED, {"step": step})
    began, cpu = time.monotonic(), _cpu_seconds()
    cards = GpuWatch()
    outcome = "failed"
    handler = _CountingHandler(emitter)
    logging.getLogger().addHandler(handler)
    shown = warnings.showwarning
    warnings.showwarning = handler.shown_by(shown)
    try:
        yield
        outcome = "completed"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except BaseException as error:
        emitter.exception(error, {"step": step})
        raise
    finally:
        warnings.showwarning = shown
        logging.getLogger().removeHandler(handler)
        figures = {
            "seconds": time.monotonic() - began,
            "cpu_seconds": _cpu_seconds() - cpu,
            "peak_memory_mb": _peak_memory_mb(),
            **cards.end(),
            "warnings": float(handler.count),
            **_rows(output),
        }
        emitter.event(ENDED, {"step": step, "outcome": outcome}, figures)
        emitter.flush()


class _CountingHandler(telemetry.LogHandler):
    def __init__(self, emitter: telemetry.Emitter) -> None:
        super().__init__(emitter)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        super().emit(record)

    def shown_by(self, show: Any) -> Any:
        """What shows a warning of Python's own as before, after it was counted and sent."""

        def count_and_show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            text = f"{category.__name__}: {message} ({filename}:{lineno})"
            self.handle(logging.makeLogRecord({"msg": text, "levelno": 30, "name": "warnings"}))
            show(message, category, filename, lineno, file, line)

        return count_and_show


def _rows(output: Path | None) -> dict[str, float]:
    """Rows that a step wrote or learned from, where its output says so."""
    for file, where in (("manifest.json", ("rows",)), ("model.json", ("data", "rows"))):
        try:
            found: Any = read_json(output / file) if output is not None else None
            for key in where:
                found = found[key]
            return {"rows": float(sum(found.values()) if isinstance(found, dict) else found)}
        except (ClaimsError, OSError, KeyError, TypeError, ValueError):
            continue
    return {}


def _cpu_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _peak_memory_mb() -> float:
    # Bytes on macOS, kibibytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
