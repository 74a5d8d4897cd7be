"""Whatever is dropped, however often and in whatever state: nothing is lost, nothing is taken twice."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.ingestion.batch import Claimed
from ml_service.ingestion.landing import FolderLanding, open_landing
from ml_service.ingestion.options import Limits
from ml_service.platforms.base import PlatformError
from tests.ml_service.ingestion.stand_in import (
    DATA,
    QUICK,
    StandIn,
    everything,
    in_child,
    ingestor,
    outcomes,
    statuses,
    trigger,
)


def take(platform: StandIn, address: str, limits: Limits = QUICK) -> Any:
    """Take in all that is in the landing, and return the ingestor."""
    made = ingestor(platform, address, limits)
    made.handle(everything(made))
    return made


def held(platform: StandIn) -> pd.DataFrame:
    """The newest version of the data."""
    version = platform.data.get(DATA)
    return pd.read_parquet(platform.data.fetch(version) / "data.parquet")


def test_files_become_one_version(landing: Any, platform: StandIn, claims: pd.DataFrame) -> None:
    for number in range(3):
        landing.drop(f"2026/Schäden {number}.csv", claims[number * 100 : number * 100 + 100])
    made = take(platform, landing.address)
    assert [v.version for v in platform.data.list(DATA)] == [1]
    pd.testing.assert_frame_equal(held(platform), claims[:300])
    assert set(map(tuple, statuses(platform, made).values())) == {("accepted",)}
    assert len(everything(made)) == 3
    assert made.handle(everything(made)) == []
    assert len(platform.pipelines.list()) == 1


def test_the_same_content_is_taken_once(
    landing: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    landing.drop("a.csv", claims)
    landing.drop("b.csv", claims)
    made = take(platform, landing.address)
    landing.drop("c.csv", claims)
    landing.drop("a.csv", claims)
    take(platform, landing.address)
    assert [v.version for v in platform.data.list(DATA)] == [1]
    found = statuses(platform, made)
    assert found["c.csv"] == ["duplicate"]
    assert sorted([found["a.csv"][0], found["b.csv"][0]]) == ["accepted", "duplicate"]
    assert found["a.csv"][1:] == ["duplicate"]


def test_an_old_file_that_comes_again_does_not_undo_a_correction(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    folder.drop("a.csv", claims)
    take(platform, folder.address)
    corrected = claims.assign(ps_car_13=1.25)
    folder.drop("a.csv", corrected)
    take(platform, folder.address)
    folder.drop("again.csv", claims)
    take(platform, folder.address)
    assert [v.version for v in platform.data.list(DATA)] == [2, 1]
    assert set(held(platform)["ps_car_13"]) == {1.25}


def test_a_correction_that_is_taken_back_is_the_version_before_and_is_built_upon(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    corrected = claims[:300].assign(ps_car_13=1.25)
    for rows in (claims[:300], corrected, claims[:300].iloc[::-1]):
        folder.drop("a.csv", rows)
        take(platform, folder.address)
    assert [v.version for v in platform.data.list(DATA)] == [2, 1]
    assert trigger(platform).due() == 1
    folder.drop("b.csv", claims[300:])
    take(platform, folder.address)
    assert platform.data.get(DATA).version == 3
    pd.testing.assert_frame_equal(held(platform), claims)


def test_two_landings_of_one_data_set_lose_nothing_of_each_other(
    tmp_path: Path, folder: Any, container: Any, claims: pd.DataFrame
) -> None:
    for number in range(8):
        place = (folder, container)[number % 2]
        place.drop(f"{number}.csv", claims[number * 50 : number * 50 + 50])
    home = tmp_path / "home"
    StandIn(home)

    def work(address: str) -> None:
        made = ingestor(StandIn(home), address, Limits(max_files=1))
        made.handle(everything(made))

    workers = [
        threading.Thread(target=in_child, args=(partial(work, place.address),))
        for place in (folder, container)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert StandIn(home).data.get(DATA).rows == 400


def test_the_same_name_with_new_content_is_a_new_version(
    landing: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    landing.drop("a.csv", claims[:200])
    made = take(platform, landing.address)
    landing.drop("a.csv", claims[100:])
    take(platform, landing.address)
    assert [v.rows for v in platform.data.list(DATA)] == [400, 200]
    assert statuses(platform, made)["a.csv"] == ["accepted", "accepted"]


def test_what_cannot_be_taken_has_an_outcome_and_holds_nobody_up(
    landing: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    landing.drop("good.csv", claims)
    landing.drop("empty.csv", b"")
    landing.drop("latin.csv", claims.to_csv(index=False).encode().replace(b"id", b"\xefd", 1))
    landing.drop("notes.txt", b"please use the new file")
    made = take(platform, landing.address)
    found = outcomes(platform, made)
    assert [entry.status for entry in found["good.csv"]] == ["accepted"]
    for name in ("empty.csv", "latin.csv", "notes.txt"):
        (entry,) = found[name]
        assert (entry.status, entry.severity) == ("quarantined", "error")
        assert name in entry.reason
    assert made.handle(everything(made)) == []


def test_only_bad_files_make_no_version(folder: Any, platform: StandIn) -> None:
    folder.drop("empty.csv", b"")
    take(platform, folder.address)
    assert platform.data.list(DATA) == []


@pytest.mark.parametrize(
    "name", ["a.csv.part", ".a.csv", "_SUCCESS", "_tmp/a.csv", "a.csv.tmp", ".hidden/a.csv"]
)
def test_unfinished_and_hidden_files_are_not_files_yet(
    landing: Any, platform: StandIn, name: str
) -> None:
    landing.drop(name, b"x")
    made = ingestor(platform, landing.address)
    assert everything(made) == []
    assert made.handle([name]) == []


def test_a_blob_that_is_partly_uploaded_is_not_there_yet(
    container: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    from azure.storage.blob import BlobBlock

    content = claims.to_csv(index=False).encode()
    blob = container._container.get_blob_client("big.csv")
    blob.stage_block("0001", content[:5000])
    made = take(platform, container.address)
    assert outcomes(platform, made) == {}
    blob.stage_block("0002", content[5000:])
    blob.commit_block_list([BlobBlock("0001"), BlobBlock("0002")])
    take(platform, container.address)
    assert platform.data.get(DATA).rows == 400


def test_a_file_that_changes_while_it_is_processed_is_taken_as_it_is_then(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    folder.drop("a.csv", claims[:100])
    folder.drop("b.csv", claims[100:200])
    changes = iter([lambda: folder.drop("a.csv", claims[:150])])
    platform.pipelines.before = lambda: next(changes, lambda: None)()
    made = take(platform, folder.address)
    assert statuses(platform, made) == {"b.csv": ["accepted"]}
    take(platform, folder.address)
    assert statuses(platform, made) == {"b.csv": ["accepted"], "a.csv": ["accepted"]}
    assert platform.data.get(DATA).rows == 200


def test_a_claimed_blob_cannot_be_replaced_and_is_free_afterwards(
    container: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    from azure.core.exceptions import HttpResponseError

    container.drop("a.csv", claims)
    refused = []

    def replace() -> None:
        try:
            container.drop("a.csv", b"")
        except HttpResponseError as error:
            refused.append(str(getattr(error, "error_code", None)))

    platform.pipelines.before = replace
    take(platform, container.address)
    assert refused == ["StorageErrorCode.LEASE_ID_MISSING"]
    container.drop("a.csv", b"")


def test_what_somebody_else_holds_is_left_for_later(
    container: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    container.drop("a.csv", claims[:200])
    container.drop("b.csv", claims[200:])
    lease = container._container.get_blob_client("a.csv").acquire_lease(60)
    made = take(platform, container.address)
    assert statuses(platform, made) == {"b.csv": ["accepted"]}
    lease.release()
    take(platform, container.address)
    assert statuses(platform, made)["a.csv"] == ["accepted"]


def test_several_watchers_at_once_take_each_file_once(
    tmp_path: Path, landing: Any, claims: pd.DataFrame
) -> None:
    for number in range(8):
        landing.drop(f"{number}.csv", claims[number * 50 : number * 50 + 50])
    home = tmp_path / "home"
    platform = StandIn(home)

    def work() -> None:
        made = ingestor(StandIn(home), landing.address, Limits(max_files=2))
        made.handle(everything(made))

    workers = [threading.Thread(target=in_child, args=(work,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    made = ingestor(platform, landing.address)
    assert set(map(tuple, statuses(platform, made).values())) == {("accepted",)}
    assert len(statuses(platform, made)) == 8
    assert len(platform.pipelines.list()) == 4
    assert platform.data.get(DATA).rows == 400


def test_what_fails_is_tried_again_and_given_up_alone(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    for number in range(4):
        folder.drop(f"{number}.csv", claims[number * 100 : number * 100 + 100])
    platform.pipelines.error = lambda names: "the kernel died" if "2.csv" in names else None
    now = datetime(2026, 1, 2, tzinfo=UTC)
    limits = Limits(tries=3, max_files=10, wait=timedelta(seconds=10))
    made = ingestor(platform, folder.address, limits, clock=lambda: now)
    made.handle(everything(made))
    assert made.handle(everything(made)) == []
    for _ in range(3):
        now += timedelta(minutes=1)
        made.handle(everything(made))
    found = statuses(platform, made)
    assert found.pop("2.csv") == ["failed", "failed", "dead"]
    assert set(map(tuple, found.values())) == {("failed", "accepted")}
    (*_, last) = outcomes(platform, made)["2.csv"]
    assert last.severity == "error"
    assert "given up after 3 tries: the kernel died" in last.reason
    platform.pipelines.error = lambda names: None
    assert made.retry([]) == ["2.csv"]
    made.handle(everything(made))
    assert statuses(platform, made)["2.csv"][-1] == "accepted"
    assert platform.data.get(DATA).rows == 400
    with pytest.raises(PlatformError, match="neither dead nor quarantined"):
        made.retry(["2.csv"])


def test_waiting_times_grow_and_a_clock_that_jumps_does_not_put_off_for_years(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    folder.drop("a.csv", claims)
    platform.pipelines.error = lambda names: "no"
    start = now = datetime(2031, 1, 1, tzinfo=UTC)
    limits = Limits(tries=9, wait=timedelta(seconds=10))
    made = ingestor(platform, folder.address, limits, clock=lambda: now)
    made.handle(["a.csv"])
    now = start + timedelta(seconds=9)
    assert made.handle(["a.csv"]) == []
    now = start + timedelta(seconds=11)
    assert len(made.handle(["a.csv"])) == 1
    now += timedelta(seconds=11)
    assert made.handle(["a.csv"]) == []
    # The battery of the clock is empty.
    now = datetime(2001, 1, 1, tzinfo=UTC)
    assert len(made.handle(["a.csv"])) == 1


def test_storage_that_is_gone_in_the_middle_is_nobodys_fault(
    tmp_path: Path, platform: StandIn, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.azurite import AzuriteProcess, skip_without_azurite

    skip_without_azurite()
    own = AzuriteProcess(tmp_path / "azurite")
    own.start()
    try:
        for name, value in own.environment.items():
            monkeypatch.setenv(name, value)
        own.container("landing").upload_blob("a.csv", claims.to_csv(index=False).encode())
        made = ingestor(platform, f"{own.url}/landing")

        def stop() -> None:
            own.stop()
            raise PlatformError("step process failed: the storage does not answer")

        platform.pipelines.before = stop
        with pytest.raises(PlatformError):
            made.handle(["a.csv"])
        assert made.ledger.open_batch() is not None
        own.start()
        platform.pipelines.before = lambda: None
        made.handle([])
        assert statuses(platform, made) == {"a.csv": ["accepted"]}
    finally:
        own.stop()


def test_rows_that_make_no_version_fail_with_the_reason(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    folder.drop("a.csv", claims.assign(target=0))
    folder.drop("empty.csv", b"")
    made = take(platform, folder.address, Limits(tries=1, wait=timedelta(0)))
    found = outcomes(platform, made)
    assert found["a.csv"][0].status == "dead"
    assert "the same target" in found["a.csv"][0].reason
    assert found["empty.csv"][0].status == "quarantined"


def test_files_are_removed_only_after_their_outcome(
    landing: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    landing.drop("a.csv", claims)
    landing.drop("bad.csv", b"")
    made = ingestor(platform, landing.address, Limits(remove=True, wait=timedelta(0)))
    append = platform.documents.append
    seen: list[list[str]] = []

    def watched(name: str, line: bytes) -> None:
        seen.append(everything(made))
        append(name, line)

    platform.documents.append = watched
    made.handle(everything(made))
    assert [sorted(names) for names in seen] == [["a.csv", "bad.csv"]]
    assert everything(made) == []


def test_a_file_that_was_replaced_is_not_removed(landing: Any, claims: pd.DataFrame) -> None:
    landing.drop("a.csv", claims)
    place = open_landing(landing.address)
    (before,) = place.list()
    landing.drop("a.csv", claims[:10])
    place.remove(before.claim)
    place.remove(Claimed("nothing.csv", "x", 1))
    assert [file.name for file in place.list()] == ["a.csv"]


def test_a_landing_that_is_not_there_is_refused(
    tmp_path: Path, container: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PlatformError, match="is not a folder"):
        FolderLanding(tmp_path / "nowhere")
    with pytest.raises(PlatformError, match="ContainerNotFound"):
        open_landing(f"{container.address}x").list()
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2024-01-01&sig=geheim")
    with pytest.raises(PlatformError, match="expired or lacks rights") as caught:
        open_landing(container.address).list()
    assert "geheim" not in str(caught.value)


def test_links_out_of_the_landing_are_not_followed(
    tmp_path: Path, folder: Any, platform: StandIn
) -> None:
    (tmp_path / "secret.csv").write_text("x")
    (Path(folder.address) / "link.csv").symlink_to(tmp_path / "secret.csv")
    made = ingestor(platform, folder.address)
    assert everything(made) == []
    assert made.handle(["link.csv"]) == []


@pytest.mark.slow
def test_a_thousand_small_files_are_one_run_and_one_version(
    folder: Any, platform: StandIn, claims: pd.DataFrame
) -> None:
    lines = claims.to_csv(index=False).encode().splitlines(keepends=True)
    for number in range(1000):
        content = lines[1 + number % 400].split(b",", 1)[1]
        folder.drop(f"{number}.csv", lines[0] + b"%d,%b" % (number, content))
    made = take(platform, folder.address)
    assert len(platform.pipelines.list()) == 1
    assert platform.data.get(DATA).rows == 1000
    assert set(map(tuple, statuses(platform, made).values())) == {("accepted",)}
