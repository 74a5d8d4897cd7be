"""Runs a command of ``mlops`` in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from ml_service.cli import app

Mlops = Callable[..., tuple[int, str, str]]
"""Takes the command's words; gives its exit code and what it printed to stdout and stderr."""


def runner(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Mlops:
    """What runs commands, for as long as a test lasts."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlops", *arguments])
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run
