"""W3C Trace Context: the ids that tie together what one request or one pipeline run caused in many processes."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

HEADER = "traceparent"
VARIABLE = "TRACEPARENT"

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """Where in a trace something happens.

    Attributes:
        trace_id: of the whole, 32 hexadecimal digits.
        span_id: of this part of it, 16 hexadecimal digits.
        parent_id: of the part that caused it; None for the first.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None

    @property
    def header(self) -> str:
        """The traceparent to pass on to what this part causes."""
        return f"00-{self.trace_id}-{self.span_id}-01"


def continued(traceparent: str | None) -> Trace | None:
    """A new part of the trace that a header or variable names; None where there is none or it is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    return Trace(found[1], secrets.token_hex(8), found[2]) if found else None


def of_process(environ: Mapping[str, str] = os.environ, run_id: str | None = None) -> Trace:
    """The trace that this process belongs to.

    Args:
        environ: TRACEPARENT is continued.
        run_id: where there is none, all processes of one pipeline run share a trace; without a run it is a new one.
    """
    given = continued(environ.get(VARIABLE))
    if given is not None:
        return given
    trace_id = hashlib.sha256(run_id.encode()).hexdigest()[:32] if run_id else secrets.token_hex(16)
    return Trace(trace_id, secrets.token_hex(8))
