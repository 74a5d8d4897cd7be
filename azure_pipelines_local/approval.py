"""Asking a person whether to go on."""

from __future__ import annotations

import signal
import sys

from azure_pipelines_local.process import Cancellation
from azure_pipelines_local.report import Report


class Approval:
    """Answers whether something is approved.

    Args:
        always: whether everything is, without asking.
        cancellation: Ctrl-C at the question cancels the run.
    """

    def __init__(self, always: bool, report: Report, cancellation: Cancellation) -> None:
        self._always = always
        self._report = report
        self._cancellation = cancellation

    def __call__(self, what: str) -> bool:
        """Ask, where there is a terminal to ask on."""
        if self._always:
            self._report.line(f"approved by --approve: {what}", "green")
            return True
        if not sys.stdin.isatty():
            self._report.line(
                f"{what} needs approval: there is no terminal to ask on. Run with --approve",
                "bold red",
            )
            return False
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return input(f"approve {what}? [y/N] ").strip().lower() in ("y", "yes")
        except (EOFError, KeyboardInterrupt):
            self._cancellation.requested = True
            return False
        finally:
            signal.signal(signal.SIGINT, before)
