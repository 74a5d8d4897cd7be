"""Web services of the workspace: found, waited for, described and deleted. The SDK's own waiting prints and is slow."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_service.platforms.azureml.deployment import VERSION_TAG
from ml_service.platforms.azureml.errors import message, reason, status, translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Health, Log, PlatformError

LONGEST_SECONDS = 30 * 60
"""An image is built within it, and nodes are added to a cluster."""

_ENDED = ("Succeeded", "Failed", "Cancelled", "TimedOut")
_PAUSES = (1.0, 1.0, 2.0, 3.0, 5.0)
_PROGRESS_SECONDS = 15
_MISSED_ANSWERS = 5
_LOG_LINES = 40
_STATES: Mapping[str, Health] = {
    "Healthy": "healthy",
    "Transitioning": "starting",
}


@contextlib.contextmanager
def asked(what: str) -> Iterator[None]:
    """Let the SDK work without its prints, and turn what it raises into a PlatformError.

    Args:
        what: is being done, as the message's beginning.
    """
    with translated(what), contextlib.redirect_stdout(io.StringIO()):
        yield


def find(ws: AzureWorkspace, name: str, kind: str) -> Any:
    """The SDK's ``Webservice`` of this name, None where there is none.

    Args:
        ws: the workspace.
        name: of the service.
        kind: that it has to have: ``ACI`` or ``AKSENDPOINT``.

    Raises:
        PlatformError: the name belongs to a service of another kind, or Azure does not answer.
    """
    from azureml.core.webservice import Webservice
    from azureml.exceptions import WebserviceException

    workspace = ws.workspace
    with asked(f"looking up service {name}"):
        try:
            service = Webservice(workspace, name=name)
        except WebserviceException as error:
            if "WebserviceNotFound" in message(error):
                return None
            raise
    if service.compute_type != kind:
        raise PlatformError(
            f"service {name} is of type {service.compute_type}, not {kind}: remove it in Azure ML studio, or set "
            "another name with ACI_DEPLOYMENT_NAME or AKS_DEPLOYMENT_NAME"
        )
    return service


def wait(service: Any, what: str, log: Log, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the operation that was begun on a service has ended, and read the service again.

    Args:
        service: the SDK's object on which the operation was begun.
        what: is being done, for messages.
        log: gets the progress.
        sleep: takes seconds.

    Raises:
        PlatformError: it failed, takes too long, or Azure does not answer any more.
    """
    began = time.monotonic()
    told = -float(_PROGRESS_SECONDS)
    polls = 0
    missed = 0
    while True:
        seconds = time.monotonic() - began
        try:
            # Public is only a wait that sleeps 5 s at a time.
            state, error, operation = service._get_operation_state()
        except Exception as problem:
            missed += 1
            if missed > _MISSED_ANSWERS or status(problem) in (401, 403, 404):
                with translated(f"{what}: waiting for it"):
                    raise
            log(f"{what}: {reason(problem)}; asking again")
        else:
            missed = 0
            if state in _ENDED:
                break
            if seconds - told >= _PROGRESS_SECONDS:
                log(f"{what}: {state.lower()} for {seconds:.0f} s")
                told = seconds
        if seconds > LONGEST_SECONDS:
            raise PlatformError(
                f"{what}: still not done after {LONGEST_SECONDS // 60} minutes: see Endpoints in Azure ML studio"
            )
        sleep(_PAUSES[min(polls, len(_PAUSES) - 1)])
        polls += 1
    with asked(f"{what}: reading the result"):
        service.update_deployment_state()
    if state != "Succeeded":
        raise PlatformError(_failure(service, what, state, error, operation))


def settled(
    find_it: Callable[[], Any], what: str, log: Log, sleep: Callable[[float], None] = time.sleep
) -> Any:
    """A service once no other command changes it any more.

    Args:
        find_it: looks it up.
        what: is to be done, for messages.
        log: gets the progress.
        sleep: takes seconds.

    Raises:
        PlatformError: it is still being changed after a long time.
    """
    began = time.monotonic()
    service = find_it()
    if service is not None and service.state == "Transitioning":
        log(f"{what}: another deployment is under way, waiting for it")
    while service is not None and service.state == "Transitioning":
        if time.monotonic() - began > LONGEST_SECONDS:
            raise PlatformError(
                f"{what}: service {service.name} has been changing for {LONGEST_SECONDS // 60} minutes: see Endpoints "
                "in Azure ML studio"
            )
        sleep(_PAUSES[-1])
        service = find_it()
    return service


def delete(service: Any) -> None:
    """Delete a service."""
    with asked(f"deleting service {service.name}"):
        service.delete()


def key(service: Any) -> str:
    """A service's bearer key."""
    with asked(f"reading the key of service {service.name}"):
        return str(service.get_keys()[0])


def health(state: str | None) -> Health:
    """What a state of Azure means."""
    return _STATES.get(state or "", "unhealthy")


def why(service: Any) -> str | None:
    """Why a service is not healthy; None where it is."""
    if service.state == "Healthy":
        return None
    said = explained(service.error)
    return f"its state is {service.state}" + (f": {said}" if said else "")


def model_version(service: Any) -> int:
    """The model version that a service of one deployment serves."""
    models = service.models
    return int(models[0].version if models else (service.tags or {}).get(VERSION_TAG, 0))


def explained(error: Any) -> str:
    """What an error of an operation or service says, in one line."""
    if not isinstance(error, dict):
        return " ".join(str(error or "").split())
    details = error.get("details") or []
    parts = [error.get("message"), *(detail.get("message") for detail in details)]
    return "; ".join(" ".join(str(part).split()).rstrip(".") for part in parts if part)


def _failure(service: Any, what: str, state: str, error: Any, operation: Any) -> str:
    said = explained(error) or explained(service.error) or "no reason given"
    text = f"{what}: {state.lower()}, the service is {service.state}: {said}"
    step = (operation.get("operationDetails") or {}).get("subOperationType")
    if step in ("BuildEnvironment", "BuildImage"):
        where = operation.get("operationLog") or "Environments in Azure ML studio"
        return f"{text}. The log of the image's build: {where}"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            lines = str(service.get_logs(num_lines=_LOG_LINES)).strip().splitlines()[-_LOG_LINES:]
    except Exception as problem:
        # The failure itself is what matters: the log is an extra.
        lines = [f"(no log: {reason(problem)})"]
    return "\n".join([f"{text}. The end of its log:", *(f"  {line}" for line in lines)])
