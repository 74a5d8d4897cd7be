"""One step as a subprocess: its output is streamed and kept, and it dies with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_service.platforms.base import Log

_GRACE = 5.0
"""Seconds that a step has to end by itself after it was asked to."""

_REASON = "error: "


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended. ``error`` is None when it completed."""

    error: str | None


def run_process(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, log_file: Path, log: Log
) -> Outcome:
    """Run a step's command to its end.

    Args:
        command: its words; a leading ``python`` becomes this interpreter.
        environment: added to this process's own.
        cwd: where it runs.
        log_file: gets all that it prints.
        log: gets the same, line by line, while it runs.

    Raises:
        KeyboardInterrupt: this process was interrupted; the step was ended first.
    """
    words = [sys.executable if word == "python" else word for word in command[:1]] + list(
        command[1:]
    )
    # A session of its own: Ctrl-C reaches the runner alone, which then ends the step with all that it started.
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    reason: list[str] = []
    try:
        with log_file.open("w", encoding="utf-8") as kept:
            for line in process.stdout:
                line = line.rstrip("\n")
                kept.write(line + "\n")
                kept.flush()
                log(line)
                if line.startswith(_REASON):
                    reason = [line.removeprefix(_REASON)]
                elif reason:
                    reason.append(line)
                last = line
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code == 0:
        return Outcome(None)
    if reason:
        return Outcome("\n".join(reason))
    if code < 0:
        name = signal.Signals(-code).name
        hint = ": the machine may have run out of memory" if name == "SIGKILL" else ""
        return Outcome(f"ended by {name}{hint}")
    return Outcome(f"exit code {code}: {last if log_file.stat().st_size else 'it printed nothing'}")


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
        break
    process.wait()
