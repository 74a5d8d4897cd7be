"""What ends a command with one line."""

from __future__ import annotations


class BootstrapError(Exception):
    """Something failed that a person can put right. The message says what is wrong and what to do."""

    code = 1
    """Exit code."""


class UsageError(BootstrapError):
    """The command asks for what cannot be; nothing was written."""

    code = 2
