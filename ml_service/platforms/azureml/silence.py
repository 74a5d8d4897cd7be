"""The SDK prints and logs what this project says in words of its own."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep what the SDK prints and warns of in the block from the terminal; its exceptions pass.

    Nothing that a person is to read may be printed in the block.
    """
    with contextlib.redirect_stdout(io.StringIO()), unlogged():
        yield


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep what the SDK warns of in the block from the terminal."""
    # Parts of it log to the root logger, which prints warnings where nobody has set it up.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
