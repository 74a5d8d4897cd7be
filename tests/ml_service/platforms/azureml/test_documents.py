"""Documents and their locks as blobs: on Azurite, and on the emulator, whose clock and faults a test can use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ServiceRequestError

from ml_service.platforms.azureml import leases
from ml_service.platforms.azureml.blobs import container_client
from ml_service.platforms.azureml.documents import AzureDocuments
from ml_service.platforms.base import PlatformError
from tests.azurite import AzuriteProcess, azurite
from tests.ml_service.platforms.azureml.conftest import no_wait

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace
    from tests.azureml_emulator.process import EmulatorProcess

__all__ = ["azurite"]

HOLD = """
import sys, time
from ml_service.platforms.azureml.platform import AzureMLPlatform
from ml_service.settings import azure_settings, settings
with AzureMLPlatform(settings(), azure_settings()).documents.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def emulated(workspace: AzureWorkspace) -> Any:
    """The container of the workspace's own datastore."""
    return container_client(workspace.default_datastore)


@pytest.fixture(params=["emulator", "azurite"])
def container(request: pytest.FixtureRequest) -> Any:
    """A container of either."""
    if request.param == "emulator":
        return request.getfixturevalue("emulated")
    storage: AzuriteProcess = request.getfixturevalue("azurite")
    return storage.container()


@pytest.fixture
def documents(container: Any) -> AzureDocuments:
    return AzureDocuments(lambda: container)


@pytest.fixture
def emulated_documents(emulated: Any) -> AzureDocuments:
    return AzureDocuments(lambda: emulated, no_wait)


def test_what_was_written_is_read(documents: AzureDocuments) -> None:
    assert documents.read("state/production/a.json") is None
    documents.write("state/production/a.json", b"one")
    documents.write("state/production/a.json", b"two, and longer")
    assert documents.read("state/production/a.json") == b"two, and longer"
    documents.write("state/production/a.json", b"")
    assert documents.read("state/production/a.json") == b""


def test_what_is_replaced_meanwhile_is_read_whole(container: Any) -> None:
    contents = [b"short", b"long" * 20_000]
    reader = AzureDocuments(lambda: container)
    reader.write("replaced.json", contents[0])

    def replace() -> None:
        writer = AzureDocuments(lambda: container)
        for turn in range(50):
            writer.write("replaced.json", contents[turn % 2])

    with ThreadPoolExecutor(1) as pool:
        replaced = pool.submit(replace)
        seen = set()
        while not replaced.done():
            seen.add(reader.read("replaced.json"))
        replaced.result()
    assert seen == set(contents)


def test_names_are_those_of_a_folder_and_below(documents: AzureDocuments) -> None:
    assert documents.names("named") == []
    for name in ("named/b/2.json", "named/b/1.json", "named/a.jsonl", "nam", "names/4.json"):
        documents.write(name, b"")
    with documents.lock("named/b"):
        found = documents.names("named")
    assert found == ["named/a.jsonl", "named/b/1.json", "named/b/2.json"]
    assert documents.names("named/b") == ["named/b/1.json", "named/b/2.json"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//b", "", "a/.b", "a\\b"])
def test_a_name_stays_in_the_folder(name: str) -> None:
    documents = AzureDocuments(lambda: pytest.fail("nothing is asked of Azure"))
    calls: list[Callable[[], object]] = [
        lambda: documents.read(name),
        lambda: documents.write(name, b""),
        lambda: documents.append(name, b""),
        lambda: documents.names(name),
        lambda: documents.lock(name).__enter__(),
    ]
    for call in calls:
        with pytest.raises(PlatformError, match="is no name of a document"):
            call()


def test_lines_are_added_by_several_at_once(documents: AzureDocuments) -> None:
    with pytest.raises(PlatformError, match="cannot hold a line break"):
        documents.append("log/several.jsonl", b"3\n4")

    def add(writer: int) -> None:
        for number in range(5):
            documents.append("log/several.jsonl", f"{writer}: {number}".encode())

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (documents.read("log/several.jsonl") or b"").decode().splitlines()
    assert sorted(lines) == sorted(
        f"{writer}: {number}" for writer in range(3) for number in range(5)
    )


def test_a_line_is_not_added_to_what_was_written_whole(documents: AzureDocuments) -> None:
    documents.write("whole.json", b"{}")
    with pytest.raises(PlatformError, match="whole.json: .*InvalidBlobType|blob type"):
        documents.append("whole.json", b"line")
    assert documents.read("whole.json") == b"{}"


@pytest.mark.parametrize("fault", [{"lost": True}, {"cut": True}, {"status": 503}])
def test_a_line_is_added_once_whatever_becomes_of_the_answer(
    emulated_documents: AzureDocuments, fault: dict[str, Any], emulator: EmulatorProcess
) -> None:
    name = f"log/{'-'.join(fault)}.jsonl"
    emulated_documents.append(name, b"first")
    emulator.fault(method="PUT", path=name, times=2, **fault)
    for line in (b"second", b"third", b"third"):
        emulated_documents.append(name, line)
    assert emulated_documents.read(name) == b"first\nsecond\nthird\nthird\n"


def test_a_write_whose_answer_is_lost_is_repeated(
    emulated_documents: AzureDocuments, emulator: EmulatorProcess
) -> None:
    emulator.fault(method="PUT", path="lost.json", lost=True)
    emulated_documents.write("lost.json", b"content")
    assert emulated_documents.read("lost.json") == b"content"


def test_what_azure_refuses_is_one_message(
    emulated_documents: AzureDocuments, emulator: EmulatorProcess
) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("GET", lambda: emulated_documents.read("no.json")),
        ("PUT", lambda: emulated_documents.write("no.json", b"")),
        ("PUT", lambda: emulated_documents.append("no.json", b"")),
        ("PUT", lambda: emulated_documents.lock("no.json").__enter__()),
    ]
    for method, call in calls:
        emulator.fault(method=method, path="no.json", status=403)
        with pytest.raises(PlatformError, match="no.json.*may not do that"):
            call()


def test_a_lock_is_held_by_one(container: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT_SECONDS", 0.0)
    first, second = (AzureDocuments(lambda: container, no_wait) for _ in range(2))
    with first.lock("held"), first.lock("held"):
        with pytest.raises(PlatformError, match="still busy with held"), second.lock("held"):
            pass
        with second.lock("another"):
            pass
    with second.lock("held"):
        second.write("held.json", b"by the second")


def test_a_lock_is_renewed_while_it_is_held(
    container: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.02)
    documents = AzureDocuments(lambda: container)
    with documents.lock("renewed"):
        lease = documents._locks["renewed"].lease
        until = lease._until
        while lease._until == until:
            assert lease.held
            time.sleep(0.01)


def test_who_lost_a_lock_writes_nothing_more(
    emulated: Any, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.05)
    cut, other = (AzureDocuments(lambda: emulated, no_wait) for _ in range(2))
    cut.write("lost/a.json", b"before")
    online = threading.Event()
    with cut.lock("lost"):
        lease = cut._locks["lost"].lease
        renew = lease._lease.renew

        def renew_where_there_is_a_network(**options: Any) -> None:
            if not online.is_set():
                raise ServiceRequestError("no network")
            renew(**options)

        lease._lease.renew = renew_where_there_is_a_network
        time.sleep(0.1)
        assert lease.held
        emulator.move_clock(leases.LEASE_SECONDS + 1)
        with other.lock("lost"):
            other.write("lost/a.json", b"by another")
            online.set()
            while lease.held:
                time.sleep(0.01)
            with pytest.raises(PlatformError, match="lock on lost was lost"):
                cut.write("lost/a.json", b"too late")
            with pytest.raises(PlatformError, match="lock on lost was lost"):
                cut.append("lost/a.jsonl", b"too late")
    assert other.read("lost/a.json") == b"by another"
    cut.write("lost/a.json", b"without the lock")


def test_a_lock_that_was_not_renewed_in_time_counts_as_lost(emulated: Any) -> None:
    now = [100.0]
    lease = leases.Lease(emulated.get_blob_client("mlops/locks/time"), "time", clock=lambda: now[0])
    lease.acquire()
    assert lease.held
    now[0] += leases.LEASE_SECONDS
    assert not lease.held
    lease.release()


def test_a_lock_whose_holder_was_killed_is_over_soon(
    emulated: Any, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, "killed"], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    documents = AzureDocuments(lambda: emulated, no_wait)
    monkeypatch.setattr(leases, "WAIT_SECONDS", 0.0)
    with pytest.raises(PlatformError, match="still busy"), documents.lock("killed"):
        pass
    emulator.move_clock(leases.LEASE_SECONDS)
    with documents.lock("killed"):
        pass


def test_documents_and_leases_survive_a_kill_of_the_storage(
    emulated: Any, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (AzureDocuments(lambda: emulated, no_wait) for _ in range(2))
    first.append("survives.jsonl", b"one")
    monkeypatch.setattr(leases, "WAIT_SECONDS", 0.0)
    with first.lock("survives"):
        emulator.kill()
        emulator.start()
        first.append("survives.jsonl", b"two")
        with pytest.raises(PlatformError, match="still busy"), second.lock("survives"):
            pass
    assert second.read("survives.jsonl") == b"one\ntwo\n"
