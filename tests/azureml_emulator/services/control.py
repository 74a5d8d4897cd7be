"""What a test says to the emulator itself: workspaces, faults, time, and what was called. Needs the control key."""

from __future__ import annotations

import hmac
from typing import Any

from tests.azureml_emulator.routing import Call, Refused, Routes

routes = Routes()
HEADER = "x-emulator-key"


@routes.add("POST", "/emulator/workspaces/{name}", anonymous=True)
async def make_workspace(call: Call) -> dict[str, str]:
    """Make a workspace with a name."""
    _check(call)
    made = call.context.make_workspace(call.match["name"])
    return {"name": made.name, "id": made.id, "folder": str(made.folder)}


@routes.add("POST", "/emulator/faults", anonymous=True)
async def add_fault(call: Call) -> dict[str, str]:
    """Ask for a fault."""
    _check(call)
    try:
        call.context.faults.add(call.json)
    except TypeError as error:
        raise Refused(400, "BadRequest", str(error)) from None
    return {}


@routes.add("DELETE", "/emulator/faults", anonymous=True)
async def clear_faults(call: Call) -> dict[str, str]:
    """Let everything be well again."""
    _check(call)
    call.context.faults.clear()
    return {}


@routes.add("POST", "/emulator/clock", anonymous=True)
async def move_clock(call: Call) -> dict[str, str]:
    """Let time pass: ``{"seconds": 3600}``."""
    _check(call)
    call.context.clock.move(float(call.json["seconds"]))
    return {"now": call.context.clock.text()}


@routes.add("GET", "/emulator/calls", anonymous=True)
async def calls(call: Call) -> dict[str, Any]:
    """Every call since the last time this was asked, and every attempt to reach another host."""
    _check(call)
    made = list(call.context.calls)
    call.context.calls.clear()
    refused = list(call.context.refused)
    call.context.refused.clear()
    return {"calls": made, "refused": refused}


def _check(call: Call) -> None:
    given = call.headers.get(HEADER, "")
    if not hmac.compare_digest(given.encode(), call.context.secrets["control"].encode()):
        raise Refused(401, "Unauthorized", f"{HEADER} is missing or wrong")
