"""What gunicorn reads before it serves: its servers end with whoever holds the other end of their standard input."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any


def when_ready(server: Any) -> None:
    """Watch standard input from gunicorn's own process, once it listens."""
    del server
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    # Nobody writes: this returns when the other end is closed, by whatever way its process ended.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
