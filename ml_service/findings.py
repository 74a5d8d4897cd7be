"""What an examination found: of this machine, or of what is in Azure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name.
        ok: whether it is as it has to be; None where that cannot be seen from here.
        detail: what was seen, or why nothing was.
        advice: what to do where it is not well.
    """

    what: str
    ok: bool | None
    detail: str
    advice: str = ""

    def describe(self) -> str:
        """One line for a person."""
        mark = {True: "ok  ", False: "FAIL", None: "?   "}[self.ok]
        advice = f" -> {self.advice}" if self.advice and not self.ok else ""
        return f"{mark} {self.what}: {self.detail}{advice}"
