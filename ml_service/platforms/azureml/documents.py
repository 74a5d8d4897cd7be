"""Documents of the workspace: blobs in the container of its default datastore, which every machine sees.

What is written whole is a block blob, and logs that grow are append blobs: both change in one step, so that a crash
tears nothing. A lock is the lease of a blob beside them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from ml_service.platforms.azureml.errors import passes, status, translated
from ml_service.platforms.azureml.leases import Lease
from ml_service.platforms.base import PlatformError, checked_document_name

_DOCUMENTS = "mlops/documents/"
_LOCKS = "mlops/locks/"
_ATTEMPTS = 20
_MOVED = 412
"""Status of an append whose condition on the blob's end does not hold."""


class AzureDocuments:
    """Documents in a blob container.

    Args:
        open_container: gives azure-storage-blob's ``ContainerClient``; called when it is needed first.
        sleep: takes seconds.
    """

    def __init__(
        self, open_container: Callable[[], Any], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._open = open_container
        self._sleep = sleep
        self._locks: dict[str, _Lock] = {}

    def read(self, name: str) -> bytes | None:
        """The newest content; None where there is none.

        Raises:
            PlatformError: it cannot be read.
        """
        from azure.core.exceptions import ResourceNotFoundError

        blob = self._blob(name)
        with translated(f"reading document {name}"):
            try:
                content: bytes = blob.download_blob().readall()
            except ResourceNotFoundError:
                return None
            return content

    def write(self, name: str, content: bytes) -> None:
        """Keep a document, whole or not at all.

        Raises:
            PlatformError: it cannot be written, or a lock was lost.
        """
        blob = self._blob(name)
        self._check_locks(name)
        with translated(f"writing document {name}"):
            blob.upload_blob(content, overwrite=True)

    def append(self, name: str, line: bytes) -> None:
        """Add one line. One whose answer was lost is looked for before it is sent again, so it is added once.

        Raises:
            PlatformError: it cannot be written, is more than one line, the document was written whole before, or a
                lock was lost.
        """
        if b"\n" in line:
            raise PlatformError(f"a line of {name} cannot hold a line break")
        blob = self._blob(name)
        self._check_locks(name)
        with translated(f"adding a line to document {name}"):
            _Appending(blob, line + b"\n", self._sleep).run(name)

    def names(self, folder: str) -> Sequence[str]:
        """Names of the documents in a folder and below, sorted; empty where there is none.

        Raises:
            PlatformError: they cannot be listed.
        """
        prefix = f"{_DOCUMENTS}{checked_document_name(folder)}/"
        container = self._container
        with translated(f"listing the documents in {folder}"):
            found = container.list_blob_names(name_starts_with=prefix)
            return sorted(str(name).removeprefix(_DOCUMENTS) for name in found)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time; over at most 15 s after that was killed. Reentrant.

        While it is held, ``write`` and ``append`` refuse to go on once it was lost: another command may have it then.

        Raises:
            PlatformError: another command holds it for minutes, or Azure does not answer.
        """
        kept = self._locks.get(name)
        if kept is None:
            checked = checked_document_name(name)
            blob = self._container.get_blob_client(_LOCKS + checked)
            kept = self._locks.setdefault(name, _Lock(Lease(blob, name, self._sleep)))
        with kept.turn:
            if not kept.depth:
                kept.lease.acquire()
            kept.depth += 1
            try:
                yield
            finally:
                kept.depth -= 1
                if not kept.depth:
                    kept.lease.release()

    def _check_locks(self, name: str) -> None:
        for locked, kept in self._locks.items():
            if kept.depth and not kept.lease.held:
                raise PlatformError(
                    f"the lock on {locked} was lost (no network, or the machine slept), so {name} was not written: "
                    "another command may have gone on; run this one again"
                )

    def _blob(self, name: str) -> Any:
        checked = checked_document_name(name)
        return self._container.get_blob_client(_DOCUMENTS + checked)

    @cached_property
    def _container(self) -> Any:
        return self._open()


class _Lock:
    """A lease, the threads' turn at it, and how often the one that holds it has entered."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.turn = threading.RLock()
        self.depth = 0


class _Appending:
    """One block on its way to the end of an append blob."""

    def __init__(self, blob: Any, block: bytes, sleep: Callable[[float], None]) -> None:
        self._blob = blob
        self._block = block
        self._sleep = sleep
        self._position = 0

    def run(self, name: str) -> None:
        """Append the block at the end, wherever that is by then."""
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        self._find_end()
        lost = False
        for attempt in range(_ATTEMPTS):
            try:
                # The library would send it again by itself, and then not know whose block it finds.
                self._blob.append_block(
                    self._block, appendpos_condition=self._position, retry_total=0
                )
                return
            except ResourceNotFoundError:
                self._create()
            except AzureError as error:
                if status(error) == _MOVED:
                    if lost and self._arrived():
                        return
                    lost = False
                    self._find_end()
                elif passes(error):
                    lost = True
                    self._sleep(min(0.5 * 2**attempt, 8))
                else:
                    raise
        raise PlatformError(f"{name} could not be written in {_ATTEMPTS} attempts: try again later")

    def _find_end(self) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self._position = self._blob.get_blob_properties().size
        except ResourceNotFoundError:
            self._create()

    def _create(self) -> None:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError

        self._position = 0
        try:
            self._blob.create_append_blob(match_condition=MatchConditions.IfMissing)
        except ResourceExistsError:
            self._position = self._blob.get_blob_properties().size

    def _arrived(self) -> bool:
        """Whether what stands where the block was sent to is the block."""
        size = self._blob.get_blob_properties().size
        if size < self._position + len(self._block):
            return False
        found: bytes = self._blob.download_blob(self._position, len(self._block)).readall()
        return found == self._block
