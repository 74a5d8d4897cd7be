"""Stops a data factory's triggers before a deployment, and starts them after it, by the Azure CLI.

Whoever is logged in there does it; no token passes through here. Either may be done twice.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from environment_setup.bundle import ARM, load
from environment_setup.data_factory.export import API
from insurance_claims.errors import ClaimsError

_CALL_SECONDS, _POLL_SECONDS, _POLLS = 120, 5.0, 60
_EVENTS = {"BlobEventsTrigger", "CustomEventsTrigger"}
"""Triggers with a subscription of Event Grid, which is made and removed on its own."""


class TriggerError(ClaimsError):
    """Triggers cannot be stopped or started."""


def stop_triggers(group: str, environment: str, log: Callable[[str], None], dry_run: bool) -> None:
    """Stop every trigger that is running.

    Args:
        group: resource group of the environment.
        environment: dev, test or prod.
        log: takes a line a trigger.
        dry_run: only say what would be done.

    Raises:
        TriggerError: there is no such factory, or Azure refuses.
    """
    factory = _factory(group, environment)
    for name, properties in sorted(_triggers(factory).items()):
        if properties.get("runtimeState") == "Stopped":
            log(f"{name} is stopped")
            continue
        log(f"{name}: {'would be' if dry_run else 'is being'} stopped")
        if not dry_run:
            if properties["type"] in _EVENTS:
                _subscription(factory, name, "unsubscribeFromEvents", "Disabled")
            _rest("post", f"{factory}/triggers/{name}/stop")


def start_triggers(
    group: str,
    environment: str,
    wanted: Collection[str],
    log: Callable[[str], None],
    dry_run: bool,
) -> None:
    """Start triggers.

    Args:
        group: resource group of the environment.
        environment: dev, test or prod.
        wanted: their names. Others in the factory stay as they are.
        log: takes a line a trigger.
        dry_run: only say what would be done.

    Raises:
        TriggerError: the factory or a trigger is not there, or Azure refuses.
    """
    factory = _factory(group, environment)
    found = _triggers(factory)
    if missing := sorted(set(wanted) - found.keys()):
        raise TriggerError(
            f"the factory has no trigger {', '.join(missing)}: deploy the exported template first"
        )
    for name in sorted(wanted):
        properties = found[name]
        if properties.get("runtimeState") == "Started":
            log(f"{name} is started")
            continue
        log(f"{name}: {'would be' if dry_run else 'is being'} started")
        if not dry_run:
            if properties["type"] in _EVENTS:
                _subscription(factory, name, "subscribeToEvents", "Enabled")
            _rest("post", f"{factory}/triggers/{name}/start")


def _factory(group: str, environment: str) -> str:
    """The id of the environment's factory in its resource group."""
    # The Azure CLI puts the subscription in that it is set to.
    folder = (
        f"/subscriptions/{{subscriptionId}}/resourceGroups/{group}/providers/Microsoft.DataFactory"
    )
    base = load(ARM / "parameters" / f"{environment}.json")["parameters"]["baseName"]["value"]
    beginning = f"adf-{base}-{environment}-"
    names = [str(item["name"]) for item in _listed(f"{folder}/factories")]
    found = [name for name in names if name.startswith(beginning)]
    if len(found) != 1:
        raise TriggerError(
            f"resource group {group} has {len(found)} data factories {beginning}*, not one: it has "
            f"{', '.join(names) or 'none at all'}"
        )
    return f"{folder}/factories/{found[0]}"


def _triggers(factory: str) -> Mapping[str, Mapping[str, Any]]:
    return {str(item["name"]): item["properties"] for item in _listed(f"{factory}/triggers")}


def _subscription(factory: str, trigger: str, action: str, wanted: str) -> None:
    """Ask for a change of a trigger's subscription, and wait for it."""
    _rest("post", f"{factory}/triggers/{trigger}/{action}")
    state = ""
    for _ in range(_POLLS):
        state = _rest("post", f"{factory}/triggers/{trigger}/getEventSubscriptionStatus")["status"]
        if state == wanted:
            return
        time.sleep(_POLL_SECONDS)
    raise TriggerError(
        f"{trigger}: its subscription is {state} after {_POLLS * _POLL_SECONDS:.0f} s, not {wanted}: look at Event "
        "Grid in the portal, then call this again"
    )


def _listed(path: str) -> Iterator[Mapping[str, Any]]:
    while path:
        page = _rest("get", path)
        yield from page["value"]
        following = urlsplit(page.get("nextLink") or "")
        path = f"{following.path}?{following.query}" if following.path else ""


def _rest(method: str, path: str) -> Any:
    program = shutil.which("az")
    if program is None:
        raise TriggerError("the Azure CLI is not installed: install it, and run `az login`")
    url = path if "api-version=" in path else f"{path}?api-version={API}"
    command = [program, "rest", "--method", method, "--url", url, "--output", "json"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_CALL_SECONDS)
        if result.returncode != 0:
            last = (result.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise TriggerError(f"az rest {method} {path}: {last}")
        return json.loads(result.stdout) if result.stdout.strip() else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise TriggerError(f"az rest {method} {path}: {error}") from None
