"""Where files are dropped, as the step reads it: a folder and a container alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from insurance_claims.ingestion.storage import (
    ChangedError,
    Store,
    StorageError,
    checked_name,
    container_address,
    folder_etag,
    open_store,
    storage_login,
)
from tests.azurite import ACCOUNT, AzuriteProcess, azurite

__all__ = ["azurite"]

NAME = "2026/Schäden Q1 .csv"
CONTENT = b"id,target\n" * 1000


class Place:
    """A landing with one file.

    Args:
        address: for the step.
        put: writes the file and returns its ETag.
    """

    def __init__(self, address: str, put: Callable[[bytes], str]) -> None:
        self.address = address
        self.put = put

    @property
    def store(self) -> Store:
        return open_store(self.address)


@pytest.fixture(params=["folder", "container"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Both kinds in turn."""
    if request.param == "folder":
        file = tmp_path / "landing" / NAME
        file.parent.mkdir(parents=True)

        def put(content: bytes) -> str:
            file.write_bytes(content)
            return folder_etag(file.stat())

        yield Place(str(tmp_path / "landing"), put)
        return
    running: AzuriteProcess = request.getfixturevalue("azurite")
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    container = running.container()

    def upload(content: bytes) -> str:
        etag: str = container.upload_blob(NAME, content, overwrite=True).get_blob_properties().etag
        return etag.strip('"')

    yield Place(f"{running.url}/{container.container_name}", upload)


def test_a_file_is_copied_with_its_hash(place: Place, tmp_path: Path) -> None:
    etag = place.put(CONTENT)
    digest = place.store.fetch(NAME, etag, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert digest == hashlib.sha256(CONTENT).hexdigest()
    assert place.store.read(NAME) == CONTENT


def test_a_file_that_changed_is_not_taken_for_the_one_before(place: Place, tmp_path: Path) -> None:
    etag = place.put(CONTENT)
    again = place.put(CONTENT + b"1,0\n")
    with pytest.raises(ChangedError, match="was changed"):
        place.store.fetch(NAME, etag, tmp_path / "copy")
    place.store.fetch(NAME, again, tmp_path / "copy")


def test_a_file_that_is_gone_is_told_from_a_place_that_is(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ChangedError, match="gone"):
        place.store.fetch("nothing.csv", "x", tmp_path / "copy")
    with pytest.raises(StorageError, match=r"nothing\.csv"):
        place.store.read("nothing.csv")


def test_a_change_while_it_is_read_is_noticed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from insurance_claims.ingestion import storage

    etag = place.put(CONTENT)
    copy = storage._copy

    def slow(source: object, target: object) -> str:
        digest = copy(source, target)  # type: ignore[arg-type]
        place.put(CONTENT * 2)
        return digest

    monkeypatch.setattr(storage, "_copy", slow)
    with pytest.raises(ChangedError):
        place.store.fetch(NAME, etag, tmp_path / "copy")


def test_an_expired_sas_is_refused_in_words(
    azurite: AzuriteProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    container = azurite.container()
    container.upload_blob("a.csv", CONTENT)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    url = f"{azurite.url}/{container.container_name}"

    def sas(minutes: int) -> str:
        token: str = generate_container_sas(
            ACCOUNT,
            container.container_name,
            account_key=azurite.key,
            permission=ContainerSasPermissions(read=True, list=True),
            start=datetime.now(UTC) - timedelta(hours=2),
            expiry=datetime.now(UTC) + timedelta(minutes=minutes),
        )
        return token

    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?" + sas(10))
    assert open_store(url).read("a.csv") == CONTENT
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", sas(-10))
    with pytest.raises(StorageError, match=r"a\.csv in container") as caught:
        open_store(url).read("a.csv")
    assert "sig=" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "account", "container", "account_url"),
    [
        (
            "https://claims.blob.core.windows.net/landing",
            *("claims", "landing", "https://claims.blob.core.windows.net"),
        ),
        (
            "http://127.0.0.1:10000/devstoreaccount1/landing/",
            *("devstoreaccount1", "landing", "http://127.0.0.1:10000/devstoreaccount1"),
        ),
    ],
)
def test_addresses(url: str, account: str, container: str, account_url: str) -> None:
    address = container_address(url)
    assert (address.account, address.container) == (account, container)
    assert address.account_url == account_url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://claims.blob.core.windows.net/landing?sv=1&sig=geheim", "AZURE_STORAGE_SAS_TOKEN"),
        ("https://claims.blob.core.windows.net", "no address of a container"),
        ("https://claims.blob.core.windows.net/landing/folder", "no address of a container"),
        ("http://claims.blob.core.windows.net/landing", "begin with https"),
        ("ftp://claims/landing", "no address of a container"),
    ],
)
def test_addresses_that_are_refused(url: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        container_address(url)
    assert "geheim" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a folder"):
        open_store(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["../a.csv", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match="no name of a file"):
        checked_name(name)


def test_secrets_stay_out_of_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=geheim==;B=c")
    login = storage_login()
    assert login.key == "geheim=="
    assert "geheim" not in repr(login)


def test_the_state_of_a_file_is_more_than_its_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"1")
    before = file.stat()
    file.write_bytes(b"2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert folder_etag(file.stat()) != folder_etag(before)
