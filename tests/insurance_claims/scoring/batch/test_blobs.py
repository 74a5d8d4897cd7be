"""Blobs as inputs, in a real Azurite: found by address, read as files are, and a change is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from insurance_claims.errors import ClaimsError, DataError
from insurance_claims.ingestion.storage import ContainerAddress, StorageError, arrow_domain
from insurance_claims.scoring.batch import blobs
from insurance_claims.scoring.batch.inputs import find_inputs
from insurance_claims.scoring.batch.job import BatchModel, Options
from insurance_claims.scoring.batch.on_dask import dask_engine
from insurance_claims.scoring.batch.progress import Progress
from insurance_claims.scoring.batch.run import Report, score_files
from insurance_claims.scoring.batch.sources import reason
from tests.azurite import ACCOUNT, AzuriteProcess, azurite
from tests.insurance_claims.scoring.batch.outputs import contents, expected, scores

__all__ = ["azurite"]

Score = Callable[..., Report]

LOGINS = (
    *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"),
)


@pytest.fixture
def container(azurite: AzuriteProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty container; the environment says who logs in."""
    for name in LOGINS:
        monkeypatch.delenv(name, raising=False)
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    blobs._files.cache_clear()
    yield azurite.container()
    blobs._files.cache_clear()


@pytest.fixture
def url(azurite: AzuriteProcess, container: Any) -> str:
    """The container's address."""
    return f"{azurite.url}/{container.container_name}"


def upload(container: Any, path: Path, name: str | None = None) -> None:
    container.upload_blob(name or path.name, path.read_bytes(), overwrite=True)


def found(url: str, *given: str) -> list[str]:
    sources = find_inputs([f"{url}{name}" for name in given], Path("out"))
    return [source.name.removeprefix(url) for source in sources]


def test_every_format_gives_the_scores_of_the_model(
    score: Score,
    model: BatchModel,
    table: pd.DataFrame,
    container: Any,
    url: str,
    azurite: AzuriteProcess,
    tmp_path: Path,
) -> None:
    local = tmp_path / "in"
    local.mkdir()
    table.head(500).to_parquet(local / "a.parquet", row_group_size=170)
    table.iloc[500:800].to_csv(local / "b.csv", index=False)
    table.iloc[800:].to_csv(local / "c d.csv.gz", index=False)
    for path in sorted(local.iterdir()):
        upload(container, path, f"claims/{path.name}")
    report = score(f"{url}/claims")
    assert (report.rows, report.parts) == (1000, 4)
    pd.testing.assert_frame_equal(
        scores(tmp_path / "out"), expected(model, table), check_exact=True
    )
    names = [item["path"] for item in report.inputs]
    assert names == [f"{url}/claims/{name}" for name in ("a.parquet", "b.csv", "c d.csv.gz")]
    etag = container.get_blob_client("claims/b.csv").get_blob_properties().etag
    assert report.inputs[1]["etag"] == etag.strip('"')
    written = contents(tmp_path / "out")
    assert not [name for name, content in written.items() if azurite.key.encode() in content]


def test_blobs_folders_containers_and_patterns(container: Any, url: str) -> None:
    for name in ("b.csv", "in/a b.csv", "in/more/c.CSV.GZ", "in/_SUCCESS.csv", "in/.x/d.csv"):
        container.upload_blob(name, b"id\n")
    container.upload_blob("in/notes.txt", b"id\n")
    below = ["/in/a b.csv", "/in/more/c.CSV.GZ"]
    assert found(url, "/in") == found(url, "/in/") == below
    assert found(url, "") == found(url, "/") == ["/b.csv", *below]
    assert found(url, "/in/a b.csv", "/in/a%20b.csv", "/b.csv") == ["/in/a b.csv", "/b.csv"]
    assert found(url, "/in/notes.txt") == ["/in/notes.txt"]
    assert found(url, "/*.csv") == ["/b.csv"]
    assert found(url, "/in/*/*") == ["/in/.x/d.csv", "/in/more/c.CSV.GZ"]
    assert found(url, "/**/*.csv", "/in/**.GZ")[-1] == "/in/more/c.CSV.GZ"
    assert found(url, "/**/a*") == ["/in/a b.csv"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/nowhere.csv", r"nowhere.csv does not exist"),
        ("/nowhere/*.csv", r"nowhere/\*.csv does not exist"),
        ("/in/*.xlsx", r"no blob matches .*/in/\*.xlsx"),
        ("/notes", "holds no file that ends in .csv, .csv.gz, .parquet"),
        ("/in/empty.csv", r"empty.csv is empty \(0 bytes\)"),
        ("/in/b.parquet", "b.parquet is not Parquet, though its name says so"),
        ("-of-others/a.csv", "does not exist"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    score: Score, container: Any, url: str, name: str, reason: str
) -> None:
    for path, content in (("in/empty.csv", b""), ("in/b.parquet", b"id"), ("notes/a.txt", b"x")):
        container.upload_blob(path, content)
    with pytest.raises(DataError, match=reason):
        score(f"{url}{name}")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_blob_that_changes_while_it_is_read_is_an_error(
    model: BatchModel, table: pd.DataFrame, container: Any, url: str, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    upload(container, path)
    seen: list[Progress] = []

    def change(progress: Progress) -> None:
        seen.append(progress)
        # The same bytes: only the ETag tells.
        upload(container, path)

    options = Options(2.0, chunk_rows=100, threads=1)
    with pytest.raises(DataError, match=f"a.{ending} was changed while it was read"):
        score_files([f"{url}/{path.name}"], tmp_path / "out", model, options, change)
    # A chunk may have been read already while the one before it was scored.
    assert len(seen) <= 2
    assert len(list((tmp_path / "out" / "scores").iterdir())) == len(seen)


def test_a_blob_that_is_removed_while_it_is_read_is_an_error(
    model: BatchModel, table: pd.DataFrame, container: Any, url: str, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "a.csv", index=False)
    upload(container, tmp_path / "a.csv")

    def remove(progress: Progress) -> None:
        if container.get_blob_client("a.csv").exists():
            container.delete_blob("a.csv")

    options = Options(2.0, chunk_rows=100, threads=1)
    with pytest.raises(DataError, match="a.csv does not exist any more"):
        score_files([f"{url}/a.csv"], tmp_path / "out", model, options, remove)


def test_a_connection_that_breaks_is_no_damage(
    score: Score, table: pd.DataFrame, container: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.upload_blob("a.parquet", table.to_parquet())

    class Breaks(pq.ParquetFile):  # type: ignore[misc]
        def iter_batches(self, *arguments: Any, **options: Any) -> Any:
            raise OSError("Connection reset by peer")

    monkeypatch.setattr(pq, "ParquetFile", Breaks)
    with pytest.raises(DataError, match="reset by peer. Run the same command again"):
        score(f"{url}/a.parquet")


def test_a_batch_goes_on_with_the_same_blob_and_with_no_other(
    score: Score, table: pd.DataFrame, container: Any, url: str, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "a.csv", index=False)
    upload(container, tmp_path / "a.csv")
    score(f"{url}/a.csv")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "scores" / "part-00000-000002.parquet").unlink()
    score(f"{url}/a.csv")
    assert contents(tmp_path / "out") == whole
    upload(container, tmp_path / "a.csv")
    with pytest.raises(DataError, match="input .*a.csv was changed. Use another output folder"):
        score(f"{url}/a.csv")


def test_workers_read_blobs_themselves(
    dask: Any,
    model: BatchModel,
    table: pd.DataFrame,
    container: Any,
    url: str,
    azurite: AzuriteProcess,
    tmp_path: Path,
) -> None:
    for number in range(2):
        table.iloc[number * 500 : number * 500 + 500].to_parquet(tmp_path / f"{number}.parquet")
        upload(container, tmp_path / f"{number}.parquet")
    engine = dask_engine(lambda: nullcontext(dask))
    options = Options(2.0, chunk_rows=100)
    with pytest.raises(DataError, match="said the worker on"):
        score_files([url], tmp_path / "out", model, options, lambda progress: None, engine)

    def log_in(variables: dict[str, str]) -> None:
        os.environ.update(variables)

    dask.run(log_in, dict(azurite.environment))
    score_files([url], tmp_path / "out", model, options, lambda progress: None, engine)
    pd.testing.assert_frame_equal(
        scores(tmp_path / "out"), expected(model, table), check_exact=True
    )


def test_a_shared_access_signature_is_enough(
    monkeypatch: pytest.MonkeyPatch, container: Any, url: str, azurite: AzuriteProcess
) -> None:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    container.upload_blob("in/a.csv", b"id\n")
    token = generate_container_sas(
        ACCOUNT,
        container.container_name,
        account_key=azurite.key,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"?{token}")
    assert found(url, "/in", "/in/a.csv") == ["/in/a.csv"]
    read = find_inputs([f"{url}/in/a.csv"], Path("out"))[0].open()
    container.delete_container()
    for name in ("/in/b.csv", "/in/*.csv"):
        with pytest.raises(DataError, match="does not exist") as refused:
            found(url, name)
        assert "sig=" not in str(refused.value)
    with pytest.raises(OSError, match="sig=") as failed:
        read.read()
    assert token.rpartition("sig=")[2] in str(failed.value)
    assert token.rpartition("sig=")[2] not in reason(failed.value)


def test_who_may_not_read_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, container: Any, url: str
) -> None:
    container.upload_blob("a.csv", b"id\n")
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "d3Jvbmc=")
    refused = (
        r"may not be read: the service refuses the key or token \(403 \w+\). Set AZURE_STORAGE"
    )
    for name in ("/a.csv", "/in/*.csv"):
        with pytest.raises(DataError, match=refused):
            found(url, name)
    blobs._files.cache_clear()
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    with pytest.raises(DataError, match="refuses the identity of this machine"):
        found(url, "/a.csv")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://acme.blob.core.windows.net/claims/a.csv?sig=hush", "carries no secret"),
        ("https://acme.blob.core.windows.net", "is no address of a container"),
        ("http://acme.blob.core.windows.net/claims/a.csv", "has to begin with https"),
        ("s3://acme/claims/a.csv", "is no address of a container"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as refused:
        find_inputs([address], Path("out"))
    assert "hush" not in str(refused.value)


def test_a_service_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any) -> Any:
        raise OSError("Could not connect to server. Connection refused\nmore of it")

    monkeypatch.setattr(blobs, "_files", unreachable)
    with pytest.raises(ClaimsError, match="a.csv cannot be read: Could not connect .* refused$"):
        find_inputs(["https://acme.blob.core.windows.net/claims/a.csv"], Path("out"))


@pytest.mark.parametrize(
    ("authority", "account", "domain"),
    [
        ("acme.blob.core.windows.net", "acme", ".blob.core.windows.net"),
        ("127.0.0.1:10000", "devstoreaccount1", "127.0.0.1:10000"),
        ("localhost:10000", "local", "localhost:10000"),
    ],
)
def test_arrow_asks_the_host_of_the_address(authority: str, account: str, domain: str) -> None:
    container = ContainerAddress("https", authority, account, "claims")
    assert arrow_domain(container, authority) == domain
