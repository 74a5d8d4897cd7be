"""Secrets and long texts are kept out of telemetry."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

HIDDEN = "[hidden]"
LONGEST = 4000
"""Characters of a text that are sent at most."""

_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|CONNECTION_STRING|_KEY$|^KEY_|_SAS$|CREDENTIAL")
_SHORTEST_SECRET = 8
_PATTERNS = (
    re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(
        r"(?i)\b((?:accountkey|sharedaccesskey|instrumentationkey|sig|password|pwd|secret|api[_-]?key)\s*[=:]\s*)"
        r"[^\s;&\"',]+"
    ),
    re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)"),
)


def scrub(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """A text without what looks like a secret or is one of this process, and not longer than LONGEST.

    Of a text that is too long the end is kept: errors say there what happened.

    Args:
        text: that is to leave the process.
        environ: values of variables whose names speak of a secret are hidden.
    """
    for name, value in environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name.upper()):
            text = text.replace(value, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text if len(text) <= LONGEST else "..." + text[3 - LONGEST :]
