"""Configuration of gunicorn: what each new worker does first.

It gives way to the router: where there are fewer cores than processes, scoring what was let in must not keep the router
from refusing at once what is too much.

And it notes its start, so that one that dies again and again is found out: gunicorn replaces a worker that dies by
itself, and tells nobody. The file that ``MLOPS_WORKER_STARTS`` names gets a line for each start: the time in seconds
since 1970.
"""

import os
import time
from contextlib import suppress

VARIABLE = "MLOPS_WORKER_STARTS"
NICENESS = 2


def post_fork(server: object, worker: object) -> None:
    """What gunicorn calls in each new worker."""
    del server, worker
    os.nice(NICENESS)
    if path := os.environ.get(VARIABLE):
        # A full disk is no reason not to serve.
        with suppress(OSError), open(path, "a", encoding="ascii") as file:
            file.write(f"{time.time():.3f}\n")
