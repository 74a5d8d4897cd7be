"""The tools that are looked with. They have an environment of their own, which `make audit` makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from insurance_claims.errors import ClaimsError

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.txt"
REVIEWED = Path(__file__).parent
"""Where the reviewed lists are."""
PROGRAMS = Path(sys.prefix) / "security" / "bin"


class SecurityError(ClaimsError):
    """A tool cannot be run, or a reviewed list is not what it has to be."""


def run(program: Path, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool.

    Raises:
        SecurityError: it is not installed.
    """
    try:
        return subprocess.run(
            [str(program), *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise SecurityError(f"{program} did not run: {error.strerror}; run `make audit`") from None


def last_line(text: str) -> str:
    """What a tool said at the end, for a message."""
    lines: Sequence[str] = text.strip().splitlines() or ["it said nothing"]
    return lines[-1]
