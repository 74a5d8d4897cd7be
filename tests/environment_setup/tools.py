"""Where tools are that have an environment of their own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

PLACE = Path(sys.prefix) / "tools" / "bin"


def tool(name: str) -> Path:
    """A program of environment_setup/tools.txt; the test is skipped where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([str(PLACE), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed: docs/infrastructure.md says how")
    return Path(found)
