"""A lock that every machine sees: the lease of a blob, renewed while it is held, and soon over when its holder dies."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ml_service.platforms.azureml.errors import passes, status, translated
from ml_service.platforms.base import PlatformError

LEASE_SECONDS = 15
"""The shortest that Azure has: so long others wait for one that was killed."""

WAIT_SECONDS = 180.0
_POLL_SECONDS = 1.0
_RENEW_SECONDS = 4.0
_ANSWER_SECONDS = 4
_MISSING = 404
_HELD = 409


class Lease:
    """The lease of one blob.

    Args:
        blob: its ``BlobClient``; it is made where there is none.
        name: of what is locked, for messages.
        sleep: takes seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        blob: Any,
        name: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blob = blob
        self._name = name
        self._sleep = sleep
        self._clock = clock
        self._lease: Any = None
        self._until = 0.0
        self._stop = threading.Event()
        self._renewing: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether nobody else can have it: false once it could not be renewed in time."""
        return self._clock() < self._until

    def acquire(self) -> None:
        """Wait until it is free, and keep it.

        Raises:
            PlatformError: another command holds it for minutes, or Azure does not answer.
        """
        deadline = self._clock() + WAIT_SECONDS
        # The same id again is no second lease: a call whose answer was lost may be repeated.
        identity = str(uuid.uuid4())
        with translated(f"locking {self._name}"):
            while not self._acquired(identity):
                if self._clock() >= deadline:
                    raise PlatformError(
                        f"another command is still busy with {self._name} after {WAIT_SECONDS:.0f} s: try again later"
                    )
                self._sleep(_POLL_SECONDS)
        self._stop.clear()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewing.start()

    def release(self) -> None:
        """Let it go."""
        self._stop.set()
        if self._renewing is not None:
            self._renewing.join()
        self._until = 0.0
        # It is over by itself soon.
        with suppress(Exception):
            self._lease.release(retry_total=0, read_timeout=_ANSWER_SECONDS)

    def _acquired(self, identity: str) -> bool:
        from azure.core.exceptions import HttpResponseError, ResourceExistsError

        asked = self._clock()
        try:
            self._lease = self._blob.acquire_lease(LEASE_SECONDS, lease_id=identity)
        except HttpResponseError as error:
            if status(error) == _MISSING:
                with suppress(ResourceExistsError):
                    self._blob.upload_blob(b"", overwrite=False)
                return self._acquired(identity)
            if status(error) != _HELD:
                raise
            return False
        self._until = asked + LEASE_SECONDS
        return True

    def _renew(self) -> None:
        while not self._stop.wait(_RENEW_SECONDS):
            asked = self._clock()
            try:
                self._lease.renew(
                    retry_total=0, connection_timeout=_ANSWER_SECONDS, read_timeout=_ANSWER_SECONDS
                )
            except Exception as error:
                if status(error) is None or passes(error):
                    # Still held until its time is over.
                    continue
                self._until = 0.0
                return
            # Azure renews one that is over only if nobody else has had it since.
            self._until = asked + LEASE_SECONDS
