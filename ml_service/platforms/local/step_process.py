"""One step as a process of its own: its output is streamed and kept, and it dies with a reason.

Importing MLflow, LightGBM and pandas takes longer than a small step's work, and each step would do it again. Steps are
therefore forked from a server that has imported them once (the standard library's ``forkserver``) and has run nothing
else. Each still is a process with its own working folder, environment and command line, as ``python -m`` gives it.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import psutil

from ml_service.platforms.base import Log

_GRACE = 5.0
"""Seconds that a step has to end by itself after it was asked to."""

_LOOK_SECONDS = 0.1
"""How often a step's memory is looked at."""

SPIN_COUNT = "20000"
"""How long an idle OpenMP thread spins before it sleeps (GOMP_SPINCOUNT, unless it is set already).

GNU's own default is far longer, and makes training crawl where another process wants the core; not to spin slows it
where none does.
"""

_REASON = "error: "

_IMPORTED_ONCE = [
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *("mlflow", "lightgbm", "pandera.pandas", "matplotlib.backends.backend_agg"),
    *("insurance_claims.step", "insurance_claims.tracking"),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended.

    Attributes:
        error: why it failed; None when it completed.
        peak_memory_mb: the most memory that its process was seen to hold; None where it did not run.
    """

    error: str | None
    peak_memory_mb: float | None = None


def warm_up() -> None:
    """Start the server that steps are forked from, unless it runs. It ends with this process."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    from multiprocessing import forkserver

    _context().set_forkserver_preload(_IMPORTED_ONCE)
    forkserver.ensure_running()


def run_process(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, log_file: Path, log: Log
) -> Outcome:
    """Run a step's command to its end.

    Args:
        command: its words: ``python -m MODULE ARGUMENT ...``.
        environment: added to this process's own.
        cwd: where it runs.
        log_file: gets all that it prints.
        log: gets the same, line by line, while it runs.

    Raises:
        KeyboardInterrupt: this process was interrupted; the step was ended first.
    """
    warm_up()
    reader, writer = _context().Pipe(duplex=False)
    process = _context().Process(
        target=_step, args=(list(command[2:]), {**os.environ, **environment}, str(cwd), writer)
    )
    process.start()
    memory = _Memory(process.pid or 0)
    memory.start()
    writer.close()
    reason: list[str] = []
    last = "it printed nothing"
    try:
        with (
            os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace") as printed,
            log_file.open("w", encoding="utf-8") as kept,
        ):
            for line in printed:
                line = line.rstrip("\n")
                kept.write(line + "\n")
                kept.flush()
                log(line)
                if line.startswith(_REASON):
                    reason = [line.removeprefix(_REASON)]
                elif reason:
                    reason.append(line)
                last = line
        process.join()
    except BaseException:
        _end(process)
        raise
    finally:
        reader.close()
        memory.stop()
    return Outcome(_why(process.exitcode, reason, last), round(memory.peak_mb, 1))


class _Memory(threading.Thread):
    """Looks again and again how much memory a process holds: one that is killed cannot say it any more."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until the process is gone or ``stop`` is called."""
        with suppress(psutil.Error):
            process = psutil.Process(self._pid)
            while not self._ended.is_set():
                self.peak_mb = max(self.peak_mb, process.memory_info().rss / 2**20)
                self._ended.wait(_LOOK_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()


def _step(words: list[str], environment: dict[str, str], cwd: str, output: Connection) -> None:
    """In the step's process: become what ``python -m`` would have started."""
    # A session of its own: Ctrl-C reaches the runner alone, which then ends the step with all that it started.
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _end_with_the_runner() -> None:
    # A runner that is killed cannot end its step, and nobody would wait for what it goes on to write.
    runner = multiprocessing.parent_process()
    assert runner is not None
    runner.join()
    os.killpg(0, signal.SIGKILL)


def _why(code: int | None, reason: Sequence[str], last: str) -> str | None:
    if code == 0:
        return None
    if reason:
        return "\n".join(reason)
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ": the machine may have run out of memory" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}"
    return f"exit code {code}: {last}"


def _end(process: ForkServerProcess) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid or 0, number)
        except ProcessLookupError:
            pass
        process.join(_GRACE)
        if process.exitcode is not None:
            return


def _context() -> ForkServerContext:
    return multiprocessing.get_context("forkserver")
