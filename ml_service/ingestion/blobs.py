"""A container of Azure Storage, or of Azurite, that files are dropped into."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any

from insurance_claims.ingestion.batch import CONTROL, Claimed
from insurance_claims.ingestion.storage import checked_name, container_address, storage_login
from ml_service.ingestion.landing import Arrival, Control, LandingRefusedError, is_data
from ml_service.platforms.base import PlatformError

LEASE_SECONDS = 60
"""After it a lease is free again, where its holder died."""

_AT_ONCE = 8
_NAMESPACE = uuid.UUID("4f6f2f0e-5a55-4b0e-9c7b-6c6f1d5b9a31")


class BlobLanding:
    """A container. Claimed blobs are leased: until the batch is done nobody replaces them.

    Args:
        url: of the container, without any secret.

    Raises:
        ClaimsError: it is no address of a container, or a package is missing.
    """

    def __init__(self, url: str) -> None:
        from azure.storage.blob import ContainerClient, ExponentialRetry

        address = container_address(url)
        login = storage_login()
        self.address = f"{address.account_url}/{address.container}"
        self._container = ContainerClient(
            address.account_url,
            address.container,
            credential=login.key or login.sas or _identity(),
            retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=2),
            connection_timeout=10,
        )

    def list(self) -> Sequence[Arrival]:
        """Every blob, in the order of arrival. What is only partly uploaded is not among them."""
        blobs = self._done("listing the files", lambda: list(self._container.list_blobs()))
        found = [_arrival(blob.name, blob) for blob in blobs if is_data(blob.name)]
        return sorted(found, key=lambda item: (item.modified, item.name))

    def find(self, name: str) -> Arrival | None:
        """One blob as it is now."""
        from azure.core.exceptions import ResourceNotFoundError

        blob = self._container.get_blob_client(checked_name(name))
        try:
            properties = self._done(f"looking at {name}", blob.get_blob_properties)
        except LandingRefusedError as error:
            if isinstance(error.__cause__, ResourceNotFoundError):
                return None
            raise
        return _arrival(name, properties) if is_data(name) else None

    @contextmanager
    def claim(self, batch_id: str, files: Sequence[Claimed]) -> Iterator[Sequence[Claimed]]:
        """Lease blobs, and renew the leases while the block runs."""
        # The same batch always proposes the same id: after a crash it takes its own leases up again at once.
        lease_id = str(uuid.uuid5(_NAMESPACE, batch_id))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            leases = list(pool.map(lambda file: self._lease(file, lease_id), files))
            held = [(file, lease) for file, lease in zip(files, leases, strict=True) if lease]
            done = threading.Event()
            renewing = threading.Thread(target=_renew, args=(held, done), daemon=True)
            renewing.start()
            try:
                yield [file for file, _ in held]
            finally:
                done.set()
                renewing.join()
                # Not tried again: if the storage is gone, the leases end by themselves.
                list(pool.map(lambda item: _quietly(lambda: item[1].release(retry_total=0)), held))

    def write_control(self, name: str, content: bytes) -> None:
        """Write a blob that says something to the step."""
        self._done(
            f"writing {name}",
            lambda: self._container.upload_blob(name, content, overwrite=True),
        )

    def remove_control(self, name: str) -> None:
        """Remove it. Nothing happens where it is gone."""
        self._remove(name)

    def batch_lists(self) -> Sequence[Control]:
        """The lists of batches that are there, by name."""
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> Sequence[Control]:
            found = []
            for blob in self._container.list_blobs(name_starts_with=f"{CONTROL}/"):
                if blob.name.endswith(".json"):
                    with suppress(ResourceNotFoundError):
                        content = self._container.download_blob(blob.name).readall()
                        found.append(Control(blob.name, content, blob.last_modified))
            return found

        lists: Sequence[Control] = self._done("reading the lists of batches", read)
        return lists

    def remove(self, file: Claimed) -> None:
        """Remove a blob, unless it was changed."""
        from azure.core import MatchConditions

        self._remove(file.name, etag=file.etag, match_condition=MatchConditions.IfNotModified)

    def _remove(self, name: str, **condition: Any) -> None:
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        blob = self._container.get_blob_client(name)
        try:
            self._done(f"removing {name}", lambda: blob.delete_blob(**condition))
        except PlatformError as error:
            if not isinstance(error.__cause__, (ResourceModifiedError, ResourceNotFoundError)):
                raise

    def _lease(self, file: Claimed, lease_id: str) -> Any:
        """A lease on a blob; None where it changed, is gone, or somebody else holds one."""
        from azure.core import MatchConditions
        from azure.core.exceptions import (
            ResourceExistsError,
            ResourceModifiedError,
            ResourceNotFoundError,
        )

        blob = self._container.get_blob_client(file.name)
        try:
            return self._done(
                f"leasing {file.name}",
                lambda: blob.acquire_lease(
                    LEASE_SECONDS,
                    lease_id=lease_id,
                    etag=file.etag,
                    match_condition=MatchConditions.IfNotModified,
                ),
            )
        except PlatformError as error:
            elsewhere = (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError)
            if isinstance(error.__cause__, elsewhere):
                return None
            raise

    def _done(self, what: str, call: Callable[[], Any]) -> Any:
        """What a call answers, with Azure's errors in words."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            return call()
        except HttpResponseError as error:
            code = str(getattr(error, "error_code", None) or error.status_code)
            code = code.removeprefix("StorageErrorCode.")
            where = f"{what} in {self.address} failed: {code}"
            if error.status_code in (401, 403):
                raise LandingRefusedError(
                    f"{where}. The login has expired or lacks rights (read, write, delete, list): renew "
                    "AZURE_STORAGE_SAS_TOKEN, or give the identity the role Storage Blob Data Contributor"
                ) from error
            if error.status_code == 404:
                raise LandingRefusedError(f"{where}: is the address right?") from error
            raise PlatformError(where) from error
        except AzureError as error:
            reason = str(error).splitlines()[0][:200]
            raise PlatformError(f"{what}: {self.address} cannot be reached: {reason}") from error


def _identity() -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise LandingRefusedError(
            "nobody is logged in to Azure Storage: set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_TOKEN, or "
            "install the login by managed identity: make azure"
        ) from None
    return DefaultAzureCredential()


def _arrival(name: str, properties: Any) -> Arrival:
    modified = properties.last_modified.astimezone(UTC).isoformat(timespec="microseconds")
    # Block blobs appear when their last block is committed; the other kinds grow in place.
    whole = str(properties.blob_type).rpartition(".")[2].lower() in ("blockblob", "block_blob")
    return Arrival(name, properties.etag.strip('"'), int(properties.size), modified, whole)


def _renew(held: Sequence[tuple[Claimed, Any]], done: threading.Event) -> None:
    while not done.wait(LEASE_SECONDS / 3):
        for _, lease in held:
            _quietly(lease.renew)


def _quietly(call: Callable[[], Any]) -> None:
    from azure.core.exceptions import AzureError

    try:
        call()
    except AzureError:
        # A lease that is lost protects nobody: the step looks at each ETag before and after it reads.
        pass
