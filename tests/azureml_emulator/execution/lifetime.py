"""What runs in the emulator besides answering: pipeline runs and schedules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from tests.azureml_emulator.context import Context
from tests.azureml_emulator.execution import executor
from tests.azureml_emulator.routing import Refused
from tests.azureml_emulator.services import schedules

_LOG = logging.getLogger("azureml_emulator")
_SECONDS = 0.2
"""Between two looks at the emulator's clock."""


def attach(application: web.Application, context: Context) -> None:
    """Let schedules and runs live as long as an application does."""

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        await executor.close_interrupted(context)
        task = asyncio.create_task(_look_at_the_clock(context))
        yield
        task.cancel()
        await executor.stop_all()

    application.cleanup_ctx.append(lifetime)


async def _look_at_the_clock(context: Context) -> None:
    while True:
        await asyncio.sleep(_SECONDS)
        try:
            await schedules.run_due(context)
        except Refused as refused:
            # As on Azure: nobody is there to answer, so a schedule that cannot run is only noted.
            _LOG.warning("a schedule could not run: %s", refused)
        except Exception:
            _LOG.exception("the schedules failed")
