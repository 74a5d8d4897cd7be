"""Faults that a test asks for: an answer other than the usual one, or a failure of what stands behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: ``http`` for an answer, else what fails: ``quota``, ``image-build``, ...; who emulates that asks for it.
        times: how often it happens before all is well.
        method: of the calls that an ``http`` fault meets; empty for all.
        path: a regular expression that is searched for in their path.
        status: answered instead; 0 answers as usual, after the delay.
        headers: of that answer.
        delay: seconds before the answer.
        cut: break the connection off instead of answering; nothing was done.
        lost: do what was asked, and then break the connection off.
        message: the reason that is given.
    """

    kind: str = "http"
    times: int = 1
    method: str = ""
    path: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    lost: bool = False
    message: str = "asked for by a test"


class Faults:
    """The faults that are still to happen."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, content: dict[str, Any]) -> None:
        """Add a fault.

        Raises:
            TypeError: the content names something that a fault does not have.
        """
        self._faults.append(Fault(**content))

    def clear(self) -> None:
        """Let everything be well again."""
        self._faults.clear()

    def take(self, kind: str) -> Fault | None:
        """The fault of this kind that is to happen now, if there is one."""
        return self._take(lambda fault: fault.kind == kind)

    def take_http(self, method: str, path: str) -> Fault | None:
        """The fault that this call meets, if there is one."""
        return self._take(
            lambda fault: (
                fault.kind == "http"
                and fault.method in ("", method)
                and re.search(fault.path, path, re.IGNORECASE) is not None
            )
        )

    def _take(self, meets: Any) -> Fault | None:
        for position, fault in enumerate(self._faults):
            if meets(fault):
                if fault.times > 1:
                    self._faults[position] = replace(fault, times=fault.times - 1)
                else:
                    del self._faults[position]
                return fault
        return None
