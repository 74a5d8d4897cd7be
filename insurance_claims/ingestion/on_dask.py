"""A batch on a Dask cluster: workers fetch, check and part files, this process writes what they send back.

So curated data and quarantine are those of one process, byte for byte, and no folder has to be shared: workers only
read the landing, each with the login of its own environment. Held at once are no more files than keep them busy.
"""

from __future__ import annotations

import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from insurance_claims.dask_cluster import (
    ClusterError,
    distributed,
    require_dask,
    result_of,
    silent_scheduler,
    wait_for_any,
)
from insurance_claims.ingestion.batch import (
    Batch,
    Claimed,
    Engine,
    FileResult,
    part_name,
    process_claimed,
)
from insurance_claims.ingestion.storage import open_store
from insurance_claims.scoring.batch.work import code_sha256

_STAYS = "Nothing of this batch is kept, and no file is lost: the next run takes them up again"


@dataclass(frozen=True, slots=True)
class Sent:
    """What a worker sends back of a file.

    Attributes:
        result: what became of it.
        files: contents below the batch's output, by relative path: at most a part and its quarantine.
    """

    result: FileResult
    files: Mapping[str, bytes]


def dask_engine(connect: Callable[[], AbstractContextManager[Any]]) -> Engine:
    """An engine that processes a batch on a cluster.

    Args:
        connect: gives a client of it.

    Raises:
        ClusterError: Dask is not installed.
    """
    require_dask()

    def engine(landing: str, batch: Batch, output: Path, max_bad: float) -> Iterator[FileResult]:
        with connect() as client:
            for sent in _in_order(client, landing, batch, max_bad):
                for name, content in sent.files.items():
                    path = output / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                yield sent.result

    return engine


def process_apart(landing: str, file: Claimed, part: str, max_bad: float, code: str) -> Sent:
    """Process one file, in a worker.

    Args:
        landing: address of it.
        file: claimed in it.
        part: of the curated data that it becomes.
        max_bad: with a larger share of bad rows, nothing of the file is taken.
        code: what ``_code`` says where the results go.

    Raises:
        ClusterError: the worker has other code.
        StorageError: the landing cannot be read from here.
    """
    if code != _code():
        raise ClusterError(
            f"the worker on {socket.gethostname()} has another version of insurance_claims, of LightGBM or of pyarrow "
            f"({pa.__version__}): install the same on all machines"
        )
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch)
        result = process_claimed(open_store(landing), file, part, output, max_bad)
        found = (path for path in output.rglob("*") if path.is_file())
        return Sent(result, {p.relative_to(output).as_posix(): p.read_bytes() for p in found})


def _code() -> str:
    """Names what the bytes of a part depend on."""
    return f"{code_sha256()} {pa.__version__}"


def _in_order(client: Any, landing: str, batch: Batch, max_bad: float) -> Iterator[Sent]:
    running: deque[Any] = deque()
    code = _code()
    try:
        for number, file in enumerate(batch.files):
            if len(running) >= 2 * max(sum(client.nthreads().values()), 1):
                yield _next(client, running)
            part = part_name(batch, number)
            running.append(
                client.submit(process_apart, landing, file, part, max_bad, code, pure=False)
            )
        while running:
            yield _next(client, running)
    except (OSError, distributed().CancelledError) as error:
        raise silent_scheduler(error, _STAYS) from None


def _next(client: Any, running: deque[Any]) -> Sent:
    """The result of the task that was begun first; when it is taken the cluster forgets it."""
    future = running.popleft()
    wait_for_any(client, [future], _STAYS)
    sent: Sent = result_of(future, _STAYS)
    return sent
