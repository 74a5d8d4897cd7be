"""One step as processes of this machine: a group of their own, their output in the run's log."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.azureml_emulator.execution.graph import Node

DRIVER = Path(__file__).with_name("parallel_run.py")
"""What Azure runs for a step over mini batches: it calls the entry script."""

_INHERITED = ("LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "GOMP_SPINCOUNT")
_GRACE = 3.0
"""Seconds that a step has to end by itself after it was asked to."""


async def run_step(
    node: Node,
    source: Path,
    paths: Mapping[tuple[str, str], Path],
    environment: Mapping[str, str],
    log: Path,
) -> int:
    """Run a step to its end. Where this is cancelled, the step is ended with all that it started.

    Args:
        node: says what to run.
        source: where it runs: the step's files.
        paths: of each ``("input", port)`` and ``("output", port)``.
        environment: what a job sees, apart from what the step itself asks for.
        log: gets all that it prints.

    Returns:
        The exit code; 128 and more where a signal ended it, as a container reports it.
    """
    words = [
        str(paths[item.kind, item.value]) if item.kind != "literal" else item.value
        for item in node.arguments
    ]
    first = [node.command] if node.command else [sys.executable, str(DRIVER)]
    home = source.parent / "home"
    home.mkdir()
    variables = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        **environment,
        **node.environment,
        **{
            f"AZUREML_DATAREFERENCE_{name}": str(path)
            for (kind, name), path in paths.items()
            if kind == "input"
        },
    }
    with log.open("ab") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *first,
                *words,
                cwd=source,
                env=variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            output.write(f"{first[0]}: {error.strerror}\n".encode())
            return 127
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await _end(process)
        raise
    return code if code >= 0 else 128 - code


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)
            break
    with suppress(ProcessLookupError):
        # Whatever it started and left behind.
        os.killpg(process.pid, signal.SIGKILL)
