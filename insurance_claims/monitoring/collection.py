"""What a scoring worker was asked and what it answered, kept as Parquet files: beside the requests, never in their way.

A request costs one append to a list. A thread makes files of it, every minute or when much has come together. Where
they cannot be written (a full disk, an account that is down) it tries again; what no longer fits into memory meanwhile
is dropped and counted. Rows are kept at least once: readers leave out doubles by request id and row number.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import orjson

from insurance_claims import schema
from insurance_claims.monitoring import collected
from insurance_claims.monitoring.collected import CollectionError, Place, open_place
from insurance_claims.telemetry import Emitter

if TYPE_CHECKING:
    import pyarrow as pa

LOCATION = "MLOPS_COLLECT"
"""Variable: the folder, or a container's address, that scored rows are kept in. Nothing is kept without it."""
SHARE = "MLOPS_COLLECT_SHARE"
"""Variable: share of the requests whose rows are kept; 1 where it is not set."""
OMIT = "MLOPS_COLLECT_OMIT"
"""Variable: features that must not be kept, separated by commas."""
SECONDS = "MLOPS_COLLECT_SECONDS"
"""Variable: seconds from one file to the next; 60 where it is not set."""
OWN = (LOCATION, SHARE, OMIT, SECONDS)
VARIABLES = (
    *OWN,
    *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
)
"""All that collection is set up with: its own variables, and who logs in."""

EXIT_SECONDS = 2.0
"""The longest that the end of a process waits for the last file."""

_SECONDS = 60.0
_MUCH = 4 << 20
"""Bytes of requests and answers that are made a file of before their time."""
_MOST = 32 << 20
"""Bytes that wait at most."""
_LOG = logging.getLogger(__name__)
_IN_ORDER = itemgetter(*schema.FEATURE_NAMES)

Seen = tuple[float, str, bytes, bytes]
"""Seconds since 1970, request id, body and answer."""


@dataclass(frozen=True, slots=True)
class Collecting:
    """What is kept, and where.

    Attributes:
        location: a folder, or the address of a container.
        share: of the requests.
        omitted: features that are not kept.
        seconds: from one file to the next.
    """

    location: str
    share: float = 1.0
    omitted: frozenset[str] = frozenset()
    seconds: float = _SECONDS


def read_settings(environ: Mapping[str, str] = os.environ) -> Collecting | None:
    """What the environment asks for; None where nothing is to be kept.

    Raises:
        CollectionError: a variable cannot be used, or what writes files is not installed.
    """
    location = environ.get(LOCATION)
    if not location:
        return None
    if importlib.util.find_spec("pyarrow") is None:
        raise CollectionError(f"{LOCATION} is set, and this environment has no pyarrow")
    names = (name.strip() for name in environ.get(OMIT, "").split(","))
    omitted = frozenset(name for name in names if name)
    if unknown := sorted(omitted - set(schema.FEATURE_NAMES)):
        raise CollectionError(f"{OMIT} names {unknown[0]!r}, which is no feature of the schema")
    return Collecting(
        location,
        _number(environ, SHARE, 1.0, 0.0, 1.0),
        omitted,
        _number(environ, SECONDS, _SECONDS, 0.05, 3600.0),
    )


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request's rows are kept: decided by its id, so that all of its rows share its fate everywhere."""
    digest = hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def collector(
    model: tuple[str, int], emitter: Emitter | None, environ: Mapping[str, str] = os.environ
) -> Collector | None:
    """What keeps this process' scored rows; None where that is off.

    Collection is never a reason not to score: of a variable that cannot be used one warning is logged, and nothing is
    kept, for it may be the one that names what must not be.

    Args:
        model: name and version of the model that answers.
        emitter: is told what was kept and dropped.
        environ: holds the variables.
    """
    try:
        chosen = read_settings(environ)
    except CollectionError as error:
        _LOG.warning("no scored rows are kept: %s", error)
        return None
    return None if chosen is None else Collector(chosen, model, emitter)


class Collector:
    """Keeps scored rows of one process.

    Args:
        collecting: what, and where.
        model: name and version of the model that answers.
        emitter: is told how many rows were kept (metric ``collected_rows``) and how many requests were dropped
            (``collection_dropped``).
    """

    def __init__(
        self, collecting: Collecting, model: tuple[str, int], emitter: Emitter | None
    ) -> None:
        self._collecting = collecting
        self._model = model
        self._emitter = emitter
        self._begin()
        own = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _begin(own))
        atexit.register(self.close)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Seen] = []
        self._bytes = 0
        self._dropped = 0
        self._files: list[tuple[str, pa.Table]] = []
        self._place: Place | None = None
        self._failing = False
        self._closing = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="collection", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Requests whose rows were not kept, for lack of room."""
        return self._dropped

    def answered(self, request_id: str, body: bytes, answer: bytes) -> None:
        """A request was answered with scores.

        Args:
            request_id: of the caller or the server.
            body: as it came in, and found sound.
            answer: as it was sent.
        """
        if self._collecting.share < 1 and not is_sampled(request_id, self._collecting.share):
            return
        size = len(body) + len(answer)
        with self._lock:
            before = self._bytes
            if before + size > _MOST:
                self._dropped += 1
                return
            self._bytes = before + size
            self._waiting.append((time.time(), request_id, body, answer))
        if before < _MUCH <= before + size:
            self._wake.set()

    def close(self, seconds: float = EXIT_SECONDS) -> bool:
        """Write what waits, now, for so many seconds at most. Says whether all of it was written."""
        self._closing = True
        self._wake.set()
        self._closed.wait(seconds)
        return not (self._waiting or self._files)

    def _run(self) -> None:
        # What a file needs is imported with the first one: not when the process is busy, or ends and refuses to.
        row = [column.minimum for column in schema.FEATURES]
        warm_up = (0.0, "warm-up", orjson.dumps({"data": [row]}), b'{"result": [0.5]}')
        collected.packed(rows_table([warm_up], self._model, self._collecting.omitted))
        closing = False
        while not closing:
            self._wake.wait(self._collecting.seconds)
            self._wake.clear()
            closing = self._closing
            try:
                self._write()
                self._failing = False
            except Exception as problem:
                # Nothing that fails in here may reach the requests. Once a failure, not once a try.
                if not self._failing:
                    _LOG.warning("scored rows cannot be written, and are tried again: %s", problem)
                self._failing = True
        self._closed.set()

    def _write(self) -> None:
        self._place = self._place or open_place(self._collecting.location)
        if not self._files:
            self._files = self._made()
        rows = 0
        try:
            while self._files:
                name, table = self._files[0]
                self._place.write(name, table)
                del self._files[0]
                rows += table.num_rows
        finally:
            self._tell(rows)

    def _made(self) -> list[tuple[str, pa.Table]]:
        with self._lock:
            seen, self._waiting = self._waiting, []
            self._bytes = 0
        files = []
        for day, group in groupby(seen, key=lambda item: int(item[0] // 86400)):
            moment = datetime.fromtimestamp(86400 * day, UTC)
            folder = collected.partition(moment.date().isoformat(), self._model[1])
            name = f"{folder}/{datetime.now(UTC):%H%M%S}-{secrets.token_hex(8)}.parquet"
            files.append((name, rows_table(list(group), self._model, self._collecting.omitted)))
        return files

    def _tell(self, rows: int) -> None:
        if self._emitter is None:
            return
        model = {"model_name": self._model[0], "model_version": str(self._model[1])}
        if rows:
            self._emitter.metric("collected_rows", rows, model)
        if self._dropped:
            self._emitter.metric("collection_dropped", self._dropped, model)


def rows_table(seen: Sequence[Seen], model: tuple[str, int], omitted: frozenset[str]) -> pa.Table:
    """Requests and their answers as a table with a row for each scored row.

    Args:
        seen: at least one request; bodies that were answered, so nothing about them is checked again.
        model: name and version.
        omitted: features to leave out.
    """
    import pyarrow as pa

    values, scores, times, ids, numbers = [], [], [], [], []
    for moment, request_id, body, answer in seen:
        rows = orjson.loads(body)["data"]
        if type(rows[0]) is dict:
            rows = list(map(_IN_ORDER, rows))
        values.append(np.array(rows, dtype=np.float64))
        scores += orjson.loads(answer)["result"]
        times.append(np.full(len(rows), int(moment * 1e6)))
        # Half of a surrogate pair is no text of a file.
        ids += [request_id.encode("utf-8", "replace").decode()] * len(rows)
        numbers.append(np.arange(len(rows)))
    table = np.concatenate(values)
    kind = collected.row_schema(omitted)
    columns = {
        collected.TIME: np.concatenate(times),
        collected.REQUEST_ID: ids,
        collected.ROW: np.concatenate(numbers),
        collected.MODEL_NAME: [model[0]] * len(ids),
        collected.MODEL_VERSION: np.full(len(ids), model[1]),
        collected.SCORE: scores,
    }
    columns |= {name: table[:, place] for place, name in enumerate(schema.FEATURE_NAMES)}
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in kind], schema=kind)


def _number(
    environ: Mapping[str, str], name: str, default: float, low: float, high: float
) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise CollectionError(f"{name} is {text!r}: expected a number from {low:g} to {high:g}")
    return value


def _begin(own: weakref.ref[Collector]) -> None:
    found = own()
    if found is not None:
        found._begin()
