"""Operations on an AKS endpoint, of which Azure does one at a time.

Whoever wants something looks at the endpoint, does the next thing that is missing, and looks again. What another
machine changes meanwhile, or a call whose answer was lost, is seen at the next look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.errors import passes, status
from ml_service.platforms.azureml.target import Target
from ml_service.platforms.base import Log, PlatformError

_MOST_OPERATIONS = 20
_MOST_FAILURES = 4
_PAUSE_SECONDS = 0.2
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of the endpoint.

    Attributes:
        what: is done, for messages.
        begin: asks Azure for it.
        wait: whether to wait until it is done; else it is the last one.
        detail: how it is done, for the log.
    """

    what: str
    begin: Callable[[], None]
    wait: bool = True
    detail: str = ""


Following = Callable[[Any], Operation | None]
"""Looks at the SDK's endpoint and says what is to be done next; None where nothing is left."""


def carry_out(target: Target, following: Following, log: Log) -> None:
    """Do one operation after the other until nothing is left to do.

    Args:
        target: holds the endpoint.
        following: says what is to be done next.
        log: gets the progress.

    Raises:
        PlatformError: nothing is deployed, an operation failed, or Azure does not answer.
    """
    failures = 0
    for _ in range(_MOST_OPERATIONS):
        try:
            if not _do_next(target, following, log):
                return
        except PlatformError as problem:
            # Another machine was faster, or nobody knows whether Azure heard it: look again.
            passing = status(problem) == _CONFLICT or passes(problem)
            if failures == _MOST_FAILURES or not passing:
                raise
            failures += 1
            log(f"{problem}; looking again")
            time.sleep(_PAUSE_SECONDS * 2**failures)
    raise PlatformError(
        f"endpoint {target.name} does not keep what it is told after {_MOST_OPERATIONS} looks: see whether somebody "
        "else changes it, in Azure ML studio"
    )


def _do_next(target: Target, following: Following, log: Log) -> bool:
    """Do the next operation; say whether another look is needed."""
    service = target.existing()
    operation = following(service)
    if operation is None:
        return False
    if service.state == "Transitioning":
        services.settled(target.find, operation.what, log)
        return True
    log(f"{operation.what}: {operation.detail}" if operation.detail else operation.what)
    with services.asked(operation.what):
        operation.begin()
    if operation.wait:
        services.wait(service, operation.what, log)
    return operation.wait
