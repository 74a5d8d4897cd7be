"""An emulator inside the test's own process, for tests that look behind its addresses."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.azureml_emulator import runs
from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.process import EmulatorProcess
from tests.azureml_emulator.registry import all_services
from tests.azureml_emulator.server import Emulator

_Result = TypeVar("_Result")
ROOT = Path(__file__).resolve().parents[2]


class Site:
    """A running emulator: its state can be reached, in its own thread.

    Args:
        folder: where it keeps everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.emulator = self.run(self._start())

    @property
    def context(self) -> Context:
        """The emulator's state."""
        return self.emulator.context

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """What a coroutine gives in the emulator's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def ask(self, question: Callable[[], _Result]) -> _Result:
        """What a function gives in the emulator's thread."""

        async def answer() -> _Result:
            return question()

        return self.run(answer())

    def workspace(self, name: str) -> Workspace:
        """A workspace of this name, made where there is none."""
        return self.ask(lambda: self.context.make_workspace(name))

    def job(self, workspace: Workspace, name: str, **options: Any) -> str:
        """A run that a job can log to; it is running. Returns its id."""
        options.setdefault("run_type", "azureml.StepRun")
        run_id = self.run(runs.create_run(self.context, workspace, "claims", name, **options))
        self.run(runs.update_run(self.context, workspace, run_id, status="Running"))
        return run_id

    def execute(
        self, workspace: Workspace, run_id: str, words: Sequence[str], cwd: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run Python as a job of this run, with the variables that a job has."""
        variables = self.run(runs.step_environment(self.context, workspace, run_id))
        kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS")}
        return subprocess.run(
            [sys.executable, *words],
            cwd=cwd,
            env={**kept, "HOME": str(cwd), "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def history(self, workspace: Workspace, run_id: str) -> Mapping[str, Any]:
        """What the run history says of a run."""
        return self.ask(lambda: runs.get(workspace, run_id))

    def stop(self) -> None:
        """Stop it; its state stays."""
        self.run(self.emulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> Emulator:
        emulator = all_services(self.folder, EmulatorProcess(self.folder).port)
        await emulator.start()
        return emulator
