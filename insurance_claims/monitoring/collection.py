"""What a scoring worker was asked and what it answered, kept as Parquet files: beside the requests, never in their way.

A request costs one append to a list. A thread moves the list to a spool on the disk every few hundredths of a second;
another makes files of spools, every minute or when one is large. Where they cannot be written (a full disk, an account
that is down) they try again; what no longer fits meanwhile is dropped and counted. Rows are kept at least once: readers
leave out doubles by request id and row number.

A worker that is killed loses what it answered after the last time that the list was moved. What is in its spool is made
a file of by whoever keeps rows in the same place next.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import logging
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from insurance_claims import schema
from insurance_claims.monitoring.collected import CollectionError, Place, open_place
from insurance_claims.monitoring.conversion import Converted, convert, warm_up
from insurance_claims.monitoring.spool import NUMBER, Origin, Seen, Spool, bytes_of, to_bytes
from insurance_claims.scoring.request import Rows, Scores
from insurance_claims.telemetry import Emitter

LOCATION = "MLOPS_COLLECT"
"""Variable: the folder, or a container's address, that scored rows are kept in. Nothing is kept without it."""
SHARE = "MLOPS_COLLECT_SHARE"
"""Variable: share of the requests whose rows are kept; 1 where it is not set."""
OMIT = "MLOPS_COLLECT_OMIT"
"""Variable: features that must not be kept, separated by commas."""
SECONDS = "MLOPS_COLLECT_SECONDS"
"""Variable: seconds from one file to the next; 60 where it is not set."""
SPOOL = "MLOPS_COLLECT_SPOOL"
"""Variable: the folder on this machine for what is not in a file yet."""
OWN = (LOCATION, SHARE, OMIT, SECONDS, SPOOL)
VARIABLES = (
    *OWN,
    *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
)
"""All that collection is set up with: its own variables, and who logs in."""

EXIT_SECONDS = 2.0
"""The longest that the end of a process waits for the last file."""

_SECONDS = 60.0
_LINGER = 0.05
"""Seconds from one move to the spool to the next: what a worker that is killed loses."""
_MUCH = 4 << 20
"""Bytes of a spool that are made a file of before their time."""
_MOST = 32 << 20
"""Bytes that wait in memory at most."""
_MOST_SPOOLED = 512 << 20
"""Bytes of a folder's spools beyond which nothing is added to them."""
_Asked: TypeAlias = tuple[float, str, Rows, Scores]
"""Seconds since 1970, request id, rows and scores, as they are in memory."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collecting:
    """What is kept, and where.

    Attributes:
        location: a folder, or the address of a container.
        share: of the requests.
        omitted: features that are not kept.
        seconds: from one file to the next.
        spool: the folder that spools are below; None for the location itself, or the one for temporary files.
    """

    location: str
    share: float = 1.0
    omitted: frozenset[str] = frozenset()
    seconds: float = _SECONDS
    spool: Path | None = None

    @property
    def spool_folder(self) -> Path:
        """Where the spools of all workers are that keep rows in the same place."""
        if self.spool is None and "://" not in self.location:
            return Path(self.location).absolute() / ".spool"
        below = self.spool or Path(tempfile.gettempdir())
        place = self.location if "://" in self.location else str(Path(self.location).absolute())
        digest = hashlib.sha256(place.encode()).hexdigest()[:16]
        return below.absolute() / f"collected-{os.getuid()}-{digest}"


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
    spool = environ.get(SPOOL)
    return Collecting(
        location,
        _number(environ, SHARE, 1.0, 0.0, 1.0),
        omitted,
        _number(environ, SECONDS, _SECONDS, 0.05, 3600.0),
        Path(spool) if spool else None,
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
    """Keeps scored rows of one process, and what killed ones left behind.

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
        self._omitted = [schema.FEATURE_NAMES.index(name) for name in sorted(collecting.omitted)]
        self._spool: Spool | None = None
        self._begin()
        own = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _begin(own))
        atexit.register(self.close)

    def _begin(self) -> None:
        if self._spool is not None:
            # The parent's: as long as it is open here, it looks as if it were written.
            self._spool.release()
        self._spool = None
        self._since = 0.0
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._bytes = 0
        self._dropped = 0
        self._failing: set[str] = set()
        self._place: Place | None = None
        self._closing = threading.Event()
        self._moved = threading.Event()
        self._released = threading.Event()
        self._closed = threading.Event()
        for work in (self._move, self._convert):
            threading.Thread(target=work, name=f"collection{work.__name__}", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Requests whose rows were not kept, for lack of room or because a worker was killed as it wrote them."""
        return self._dropped

    def answered(self, request_id: str, rows: Rows, scores: Scores) -> None:
        """A request was answered with scores.

        Args:
            request_id: of the caller or the server.
            rows: that were found sound, in the schema's order. Nobody may change them later.
            scores: of the rows.
        """
        if self._collecting.share < 1 and not is_sampled(request_id, self._collecting.share):
            return
        size = len(rows) * (len(schema.FEATURE_NAMES) + 1) * NUMBER.itemsize
        with self._lock:
            if self._bytes + size > _MOST:
                self._dropped += 1
                return
            self._bytes += size
            self._waiting.append((time.time(), request_id, rows, scores))

    def close(self, seconds: float = EXIT_SECONDS) -> bool:
        """Write what waits, now, for so many seconds at most. Says whether all of it was written."""
        self._closing.set()
        return self._closed.wait(seconds) and not (self._waiting or self._failing)

    def _move(self) -> None:
        """Move what waits to the spool again and again."""
        closing = False
        while not closing:
            closing = self._closing.wait(_LINGER)
            with self._tried("scored rows cannot be put aside"):
                self._move_once()
            self._release_if(0 if closing else self._collecting.seconds)
        self._moved.set()
        self._released.set()

    def _move_once(self) -> None:
        if not self._waiting:
            return
        with self._lock:
            count, size = len(self._waiting), self._bytes
        self._opened().append([self._packed(*asked) for asked in self._waiting[:count]])
        with self._lock:
            del self._waiting[:count]
            self._bytes -= size

    def _packed(self, when: float, request_id: str, rows: Rows, scores: Scores) -> Seen:
        if self._omitted:
            rows = np.array(rows, dtype=np.float64)
            rows[:, self._omitted] = np.nan
        return when, request_id, to_bytes(rows), to_bytes(scores)

    def _opened(self) -> Spool:
        if self._spool is None:
            folder = self._collecting.spool_folder
            if (size := bytes_of(folder)) > _MOST_SPOOLED:
                raise CollectionError(f"{folder} holds {size >> 20:,} MiB that are in no file yet")
            origin = Origin(*self._model, tuple(sorted(self._collecting.omitted)))
            self._spool = Spool(folder, origin)
            self._since = time.monotonic()
        return self._spool

    def _release_if(self, seconds: float) -> None:
        spool = self._spool
        if spool is None:
            return
        if spool.size >= _MUCH or time.monotonic() - self._since >= seconds:
            self._spool = None
            spool.release()
            self._released.set()

    def _convert(self) -> None:
        """Make files of what nobody writes any more: at once what killed workers left, then what this one releases."""
        with self._tried("scored rows cannot be written"):
            warm_up(self._model, self._collecting.omitted)
        last = False
        while not last:
            last = self._moved.is_set()
            with self._tried("scored rows cannot be written"):
                self._place = self._place or open_place(self._collecting.location)
                for converted in convert(self._collecting.spool_folder, self._place):
                    self._tell(converted)
            if self._dropped and self._emitter is not None:
                self._emitter.metric("collection_dropped", self._dropped, _properties(self._model))
            if not last:
                self._released.wait(self._collecting.seconds)
                self._released.clear()
        self._closed.set()

    def _tell(self, converted: Converted) -> None:
        if converted.torn:
            with self._lock:
                self._dropped += 1
        if converted.rows and self._emitter is not None:
            self._emitter.metric("collected_rows", converted.rows, _properties(converted.model))

    @contextmanager
    def _tried(self, what: str) -> Iterator[None]:
        """Nothing that fails in here may reach the requests. It is logged once a failure, not once a try."""
        try:
            yield
            self._failing.discard(what)
        except Exception as problem:
            if what not in self._failing:
                _LOG.warning("%s, and are tried again: %s", what, problem)
            self._failing.add(what)


def _properties(model: tuple[str, int]) -> dict[str, str]:
    return {"model_name": model[0], "model_version": str(model[1])}


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
