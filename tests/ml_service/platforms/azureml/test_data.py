from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from insurance_claims.data.content import read_version
from insurance_claims.data.synthesize import synthesize
from insurance_claims.errors import ClaimsError, DataError
from ml_service.platforms.azureml.blobs import Blobs
from ml_service.platforms.azureml.data import AzureData
from ml_service.platforms.base import Log, PlatformError
from tests.azureml_emulator.process import EmulatorProcess

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace


@pytest.fixture
def data(connect: Callable[..., AzureWorkspace]) -> AzureData:
    """The workspace's data versions, as a new process sees them."""
    return AzureData(connect())


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A data set of the test's own: the workspace is the module's."""
    return str(request.node.name).partition("[")[0][-40:].strip("_")


@pytest.fixture
def table(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a file of 200 rows; each seed has other rows."""

    def make(seed: int) -> Path:
        path = tmp_path / f"rows-{seed}.csv"
        rows, _ = synthesize(200, seed)
        rows.to_csv(path, index=False)
        return path

    return make


def uploaded(workspace: AzureWorkspace, path: str) -> dict[str, object]:
    """A manifest on the datastore."""
    content: dict[str, object] = json.loads(Blobs(workspace.datastore).read(path + "manifest.json"))
    return content


def test_a_file_becomes_a_dataset_with_its_facts_in_tags(
    data: AzureData,
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    version, new = data.add(name, table(1), lines.append)
    assert new and version.version == 1 and version.rows == 200
    path = f"datasets/{name}/{version.sha256}/"
    assert [line for line in lines if path in line]
    assert lines[-1] == f"registered data set {name} version 1"

    from azureml.core import Dataset

    workspace = connect()
    dataset = Dataset.get_by_name(workspace.workspace, name)
    assert dataset.tags == {
        "sha256": version.sha256,
        "rows": "200",
        "claim_rate": repr(version.claim_rate),
        "created": version.created,
        "source": "rows-1.csv",
        "datastore": "workspaceblobstore",
        "path": path,
    }
    assert uploaded(workspace, path)["version"] == 1


def test_another_process_reads_the_same_facts(
    data: AzureData,
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    first, _ = data.add(name, table(1), lines.append)
    second, _ = data.add(name, table(2), lines.append)
    other = AzureData(connect())
    assert list(other.list(name)) == [second, first]
    assert other.get(name) == second
    assert other.get(name, "1") == first
    assert set(other.list()) >= {first, second}


def test_the_same_rows_are_the_same_version(
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    first, _ = AzureData(connect()).add(name, table(1), lines.append)
    AzureData(connect()).add(name, table(2), lines.append)
    renamed = table(1).rename(table(1).with_name("renamed.csv"))
    assert AzureData(connect()).add(name, renamed, lines.append) == (first, False)
    assert len(AzureData(connect()).list(name)) == 2


def test_a_version_is_fetched_once_whole_and_checked(
    data: AzureData,
    emulator: EmulatorProcess,
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    version, _ = data.add(name, table(1), lines.append)
    folder = data.fetch(version)
    rows, manifest = read_version(folder)
    assert len(rows) == 200
    assert manifest["sha256"] == version.sha256
    emulator.calls()
    assert data.fetch(version) == folder
    assert [call for call in emulator.calls()[0] if "/blob/" in str(call["path"])] == []


def test_a_pipeline_gets_the_registered_dataset(
    data: AzureData, table: Callable[[int], Path], name: str, lines: list[str]
) -> None:
    version, _ = data.add(name, table(1), lines.append)
    dataset = data.dataset(version)
    assert (dataset.name, dataset.version) == (name, 1)
    assert data.dataset(version) is dataset


def test_a_file_that_breaks_the_contract_uploads_nothing(
    data: AzureData,
    emulator: EmulatorProcess,
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    file = table(1)
    text = file.read_text().splitlines()
    file.write_text("\n".join([text[0], text[1], text[1]]))
    emulator.calls()
    with pytest.raises(DataError):
        data.add(name, file, lines.append)
    assert [call for call in emulator.calls()[0] if call["method"] in ("PUT", "POST")] == []


def test_a_missing_data_set_says_what_there_is(
    data: AzureData, table: Callable[[int], Path], name: str, lines: list[str]
) -> None:
    data.add(name, table(1), lines.append)
    with pytest.raises(PlatformError, match=f"no data set 'nothing' .known: .*{name}"):
        data.get("nothing")
    for wrong in ("2", "0", "-1", "first"):
        with pytest.raises(PlatformError, match=f"has no version '{wrong}'; it has: 1$"):
            data.get(name, wrong)


@pytest.mark.parametrize("file", ["data.parquet", "manifest.json"])
def test_an_upload_that_is_cut_leaves_no_version_and_a_rerun_completes(
    connect: Callable[..., AzureWorkspace],
    fault: Callable[..., None],
    emulator: EmulatorProcess,
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    data_set = f"{name}-{file.partition('.')[0]}"
    fault(path=f"/blob/.*{file}", method="PUT", cut=True, times=100)
    with monkeypatch.context() as patch:
        # The storage client waits for minutes between its attempts.
        patch.setattr("time.sleep", lambda _: None)
        with pytest.raises(PlatformError, match="uploading the data: no answer from"):
            AzureData(connect()).add(data_set, table(1), lines.append)
    emulator.clear_faults()
    assert AzureData(connect()).list(data_set) == []
    version, new = AzureData(connect()).add(data_set, table(1), lines.append)
    assert new and version.version == 1
    assert AzureData(connect()).fetch(version).is_dir()


def test_a_registration_that_fails_leaves_no_version_and_a_rerun_completes(
    connect: Callable[..., AzureWorkspace],
    fault: Callable[..., None],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    fault(path="/dataset/v1.0/.*/datasets$", method="POST", status=403, message="no write")
    with pytest.raises(PlatformError, match=f"registering data set {name}: .*no write"):
        AzureData(connect()).add(name, table(1), lines.append)
    assert AzureData(connect()).list(name) == []
    assert AzureData(connect()).add(name, table(1), lines.append)[0].version == 1


def test_a_registration_that_fails_twice_is_done(
    data: AzureData,
    fault: Callable[..., None],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    assert data.list(name) == []
    fault(path="/dataset/v1.0/.*/datasets$", method="POST", status=500, times=2)
    assert data.add(name, table(1), lines.append)[1]
    assert len(data.list(name)) == 1


def test_a_download_that_is_cut_leaves_nothing(
    data: AzureData,
    fault: Callable[..., None],
    emulator: EmulatorProcess,
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    version, _ = data.add(name, table(1), lines.append)
    fault(path="/blob/.*manifest.json", method="GET", status=403)
    with pytest.raises(PlatformError, match=f"downloading data version {name}:1"):
        data.fetch(version)
    emulator.clear_faults()
    assert {path.name for path in data.fetch(version).iterdir()} == {
        "data.parquet",
        "manifest.json",
    }


def test_files_that_were_changed_on_the_datastore_are_refused(
    data: AzureData,
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
    tmp_path: Path,
) -> None:
    version, _ = data.add(name, table(1), lines.append)
    other, _ = data.add(name, table(2), lines.append)
    blobs = Blobs(connect().datastore)
    for file in ("data.parquet", "manifest.json"):
        blobs.download(f"datasets/{name}/{other.sha256}/{file}", tmp_path / file)
        blobs.upload(tmp_path / file, f"datasets/{name}/{version.sha256}/{file}")
    with pytest.raises(DataError, match="holds another content than data version"):
        data.fetch(version)
    assert data.fetch(other).is_dir()


def test_a_version_stays_on_the_datastore_that_it_was_added_to(
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    from azureml.core import Datastore

    Datastore.register_azure_blob_container(
        connect().workspace, "other", "other-container", "account", account_key="a2V5"
    )
    first, _ = AzureData(connect()).add(name, table(1), lines.append)
    moved = AzureData(connect(DATASTORE_NAME="other"))
    assert moved.add(name, table(1), lines.append) == (first, False)
    assert moved.fetch(first).is_dir()


def meanwhile(data: AzureData, action: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Let something else happen between an upload and the registration of its files."""
    upload = data._upload

    def upload_then(folder: Path, path: str, log: Log) -> None:
        upload(folder, path, log)
        action()

    patch.setattr(data, "_upload", upload_then)


def test_two_builds_that_add_different_rows_at_once_get_a_number_each(
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = AzureData(connect())
    early = AzureData(connect())
    meanwhile(late, lambda: early.add(name, table(2), lines.append), monkeypatch)
    version, new = late.add(name, table(1), lines.append)
    assert new and version.version == 2
    manifests = {
        item.version: uploaded(connect(), f"datasets/{name}/{item.sha256}/")["version"]
        for item in AzureData(connect()).list(name)
    }
    assert manifests == {1: 1, 2: 2}


def test_two_builds_that_add_the_same_rows_at_once_make_one_version(
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = AzureData(connect())
    early = AzureData(connect())
    meanwhile(late, lambda: early.add(name, table(1), lines.append), monkeypatch)
    version, new = late.add(name, table(1), lines.append)
    assert not new and version.version == 1
    after = AzureData(connect())
    assert [item.version for item in after.list(name)] == [1]
    assert after.get(name) == version
    assert uploaded(connect(), f"datasets/{name}/{version.sha256}/")["version"] == 1
    assert after.add(name, table(2), lines.append)[0].version == 3


def register_foreign(workspace: AzureWorkspace, name: str, tags: dict[str, str]) -> None:
    from azureml.core import Dataset

    files = Dataset.File.from_files((workspace.datastore, f"elsewhere/{name}"), validate=False)
    files.register(workspace.workspace, name, tags=tags, create_new_version=True)


def test_a_dataset_that_is_not_ours_is_left_out_and_its_name_refused(
    connect: Callable[..., AzureWorkspace],
    table: Callable[[int], Path],
    name: str,
    lines: list[str],
) -> None:
    register_foreign(connect(), name, {"team": "other"})
    data = AzureData(connect())
    assert data.list(name) == []
    assert name not in {version.name for version in data.list()}
    with pytest.raises(PlatformError, match="that is not a data version of this project"):
        data.add(name, table(1), lines.append)
    with pytest.raises(PlatformError, match="has no data set"):
        data.get(name)


def test_tags_that_were_changed_by_hand_are_named(
    data: AzureData, connect: Callable[..., AzureWorkspace], name: str
) -> None:
    tags = {"rows": "many", "claim_rate": "0.1", "sha256": "0" * 64}
    tags |= {"created": "now", "source": "x", "datastore": "workspaceblobstore", "path": "x/"}
    register_foreign(connect(), name, tags)
    with pytest.raises(PlatformError, match=f"tags of dataset {name}:1 were changed"):
        data.list(name)


def test_large_files_say_how_far_they_are(
    connect: Callable[..., AzureWorkspace], tmp_path: Path, lines: list[str]
) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(70_000_000))
    blobs = Blobs(connect().datastore)
    blobs.upload(file, "large/large.bin", lines.append)
    assert lines[-1] == "large.bin: 100% of 70 MB"
    assert len(lines) > 3
    blobs.download("large/large.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == file.read_bytes()


def test_a_datastore_that_holds_no_blobs_is_refused() -> None:
    class FileShare:
        name = "share"
        datastore_type = "AzureFile"

    with pytest.raises(ClaimsError, match="share is of type AzureFile: set DATASTORE_NAME"):
        Blobs(FileShare())
