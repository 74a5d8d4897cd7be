"""How a step failed: the exception with its last places, out of what it printed and of its telemetry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ml_service.monitoring.telemetry import Event
from ml_service.platforms.base import StepRun

_LAST_PLACES = 5
_TRACEBACK = "Traceback (most recent call last):"
_PLACE = re.compile(r'\s+File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_SENT_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+) in (?P<function>\S+)")
_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?", re.DOTALL)
_REASON = "\nerror: "
"""Before the one line in which a step of this project says why it ends; a traceback above it is of something else."""

_KILLED = re.compile(r"ended by (SIG[A-Z0-9]+)")
_ROOTS = ("site-packages", "insurance_claims", "ml_service")


@dataclass(frozen=True, slots=True)
class Failure:
    """How a step failed.

    Attributes:
        step: its name.
        kind: type of the exception, without its module; empty where it is not known.
        message: what was said.
        places: that the exception passed through, ``FILE:LINE in FUNCTION``, the innermost last.
        signal: name of the signal that killed it, if one did.
    """

    step: str
    kind: str
    message: str
    places: tuple[str, ...] = ()
    signal: str | None = None


def failure_of(step: StepRun, printed: str, exceptions: Sequence[Event]) -> Failure:
    """How a step failed.

    Args:
        step: as the platform knows it.
        printed: its whole log.
        exceptions: that telemetry has of its run.
    """
    message = step.error or "it never said how it ended"
    if killed := _KILLED.match(message):
        return Failure(step.name, "", message, signal=killed[1])
    if exceptions:
        last = exceptions[-1]
        found = map(_SENT_PLACE.fullmatch, last.properties.get("traceback", "").splitlines())
        sent = last.properties.get("message", "")
        # Long texts lose their beginning on their way through telemetry.
        told = message if not sent or sent.startswith("...") else sent
        return Failure(step.name, _short(last.name), told, _places(found))
    return _from_traceback(step.name, printed) or Failure(step.name, "", message)


def _from_traceback(step: str, printed: str) -> Failure | None:
    """The last exception that a step printed, as Python prints it; None where it printed none."""
    _, found, text = printed.rpartition(_TRACEBACK)
    if not found or _REASON in text:
        return None
    lines = text.splitlines()[1:]
    end = next((at for at, line in enumerate(lines) if not line.startswith(" ")), len(lines))
    raised = _RAISED.fullmatch("\n".join(lines[end:]).strip())
    if raised is None:
        return None
    places = _places(map(_PLACE.match, lines[:end]))
    return Failure(step, _short(raised["kind"]), raised["message"] or raised["kind"], places)


def _places(found: Iterable[re.Match[str] | None]) -> tuple[str, ...]:
    told = [
        f"{_below_root(match['file'])}:{match['line']} in {match['function']}"
        for match in found
        if match is not None
    ]
    return tuple(told[-_LAST_PLACES:])


def _short(kind: str) -> str:
    return kind.rpartition(".")[2].lstrip("_")


def _below_root(file: str) -> str:
    """A file without the folders of the machine that it was on."""
    parts = PurePath(file).parts
    roots = [position for position, part in enumerate(parts) if part in _ROOTS]
    return "/".join(parts[roots[-1] :]) if roots else file
