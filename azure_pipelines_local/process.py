"""Running one process with everything that it starts: line by line, with a time limit, and to be cancelled."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
# A process that a step leaves behind keeps the pipe open: what still comes is read until it is quiet, or for so long.
_QUIET_SECONDS = 0.5
_DRAIN_SECONDS = 5.0


@dataclass(slots=True)
class Cancellation:
    """Whether somebody pressed Ctrl-C. Jobs look at it, and clear it for the steps that run nevertheless."""

    requested: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
        exit_code: minus the signal's number where a signal ended it.
        wrote_errors: whether it wrote to stderr; known only where stderr was asked to be looked at.
    """

    exit_code: int
    timed_out: bool
    cancelled: bool
    wrote_errors: bool


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    cancellation: Callable[[], bool],
    deadline: float | None,
    groups: list[int],
    watch_stderr: bool = False,
) -> Ended:
    """Run a command to its end.

    Args:
        on_line: gets every line of output as it comes.
        cancellation: asked several times a second whether to stop.
        deadline: on the monotonic clock; None for none.
        groups: gets the process group, so that what stays behind can be ended later.
        watch_stderr: whether to note that something was written to stderr.

    Raises:
        OSError: the command or the folder does not exist.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if watch_stderr else subprocess.STDOUT,
        start_new_session=True,
    )
    groups.append(process.pid)
    lines: queue.Queue[tuple[bool, str]] = queue.Queue()
    readers = [_reader(process.stdout, lines, False)]
    if watch_stderr:
        readers.append(_reader(process.stderr, lines, True))
    wrote_errors = timed_out = cancelled = False
    try:
        while process.poll() is None:
            wrote_errors |= _pass_on(lines, on_line, _POLL_SECONDS)
            timed_out = deadline is not None and time.monotonic() > deadline
            cancelled = cancellation()
            if timed_out or cancelled:
                end_group(process.pid, lambda: process.poll() is not None)
                break
    except BaseException:
        end_group(process.pid, lambda: process.poll() is not None)
        raise
    exit_code = process.wait()
    until = time.monotonic() + _DRAIN_SECONDS
    quiet = time.monotonic() + _QUIET_SECONDS
    while any(r.is_alive() for r in readers) and time.monotonic() < min(until, quiet):
        if not lines.empty():
            quiet = time.monotonic() + _QUIET_SECONDS
        wrote_errors |= _pass_on(lines, on_line, 0.02)
    wrote_errors |= _pass_on(lines, on_line, 0)
    return Ended(exit_code, timed_out, cancelled, wrote_errors)


def _reader(
    stream: IO[bytes] | None, lines: queue.Queue[tuple[bool, str]], errors: bool
) -> threading.Thread:
    assert stream is not None

    def read() -> None:
        with stream:
            for line in stream:
                lines.put((errors, line.decode("utf-8", "replace").rstrip("\r\n")))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _pass_on(
    lines: queue.Queue[tuple[bool, str]], on_line: Callable[[str], None], wait: float
) -> bool:
    """Hand over what has come, waiting for the first line. True where some of it came from stderr."""
    errors = False
    try:
        error, line = lines.get(timeout=wait) if wait else lines.get_nowait()
        while True:
            errors |= error
            on_line(line)
            error, line = lines.get_nowait()
    except queue.Empty:
        return errors


def end_group(group: int, ended: Callable[[], bool] | None = None) -> None:
    """End a process group: kindly first, then for certain.

    Args:
        ended: whether the group's first process has ended; without it the group is killed at once.
    """
    if ended is not None:
        if not _signal(group, signal.SIGTERM):
            return
        until = time.monotonic() + _GRACE_SECONDS
        while not ended() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS / 2)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
