"""Documents as files: whole, durable, one writer at a time, and nowhere but in their folder."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_service.platforms.base import PlatformError
from ml_service.platforms.local import documents as module
from ml_service.platforms.local.documents import LocalDocuments


@pytest.fixture
def documents(tmp_path: Path) -> LocalDocuments:
    return LocalDocuments(tmp_path / "documents")


def test_what_was_written_is_read(documents: LocalDocuments) -> None:
    assert documents.read("rollouts/production/a.json") is None
    documents.write("rollouts/production/a.json", b"one")
    documents.write("rollouts/production/a.json", b"two")
    assert documents.read("rollouts/production/a.json") == b"two"
    assert documents.read("rollouts/production/a.json/b") is None


def test_names_are_those_of_a_folder_and_below(documents: LocalDocuments, tmp_path: Path) -> None:
    assert documents.names("rollouts") == []
    for name in ("rollouts/b/2.json", "rollouts/b/1.json", "rollouts/a/3.json", "other/4.json"):
        documents.write(name, b"")
    (tmp_path / "documents/rollouts/b/.5.json.x.part").write_bytes(b"half")
    with documents.lock("rollouts/b"):
        found = documents.names("rollouts")
    assert found == ["rollouts/a/3.json", "rollouts/b/1.json", "rollouts/b/2.json"]
    assert documents.names("rollouts/b") == ["rollouts/b/1.json", "rollouts/b/2.json"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "a//b", "", ".hidden", "a/.b", "a\\b"]
)
def test_a_name_stays_in_the_folder(documents: LocalDocuments, name: str) -> None:
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


def test_lines_are_added(documents: LocalDocuments) -> None:
    documents.append("log/a.jsonl", b"1")
    documents.append("log/a.jsonl", b"2")
    assert documents.read("log/a.jsonl") == b"1\n2\n"
    with pytest.raises(PlatformError, match="cannot hold a line break"):
        documents.append("log/a.jsonl", b"3\n4")


def test_a_torn_line_swallows_no_other(documents: LocalDocuments) -> None:
    documents.write("a.jsonl", b"1\ntor")
    documents.append("a.jsonl", b"2")
    assert documents.read("a.jsonl") == b"1\ntor\n2\n"


def test_what_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    documents = LocalDocuments(tmp_path / "file")
    for call in (documents.write, documents.append):
        with pytest.raises(PlatformError, match="cannot be written: .*free space"):
            call("a", b"")
    with pytest.raises(PlatformError, match="cannot be written"), documents.lock("a"):
        pass


def test_a_lock_is_held_by_one(
    documents: LocalDocuments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0)
    other = LocalDocuments(tmp_path / "documents")
    with documents.lock("a"), documents.lock("a"), documents.lock("b"):
        with pytest.raises(PlatformError, match="still busy with a"), other.lock("a"):
            pass
        refused: list[str] = []

        def in_another_thread() -> None:
            try:
                with documents.lock("a"):
                    pass
            except PlatformError as error:
                refused.append(str(error))

        thread = threading.Thread(target=in_another_thread)
        thread.start()
        thread.join()
        assert len(refused) == 1
    with other.lock("a"):
        pass


def test_a_lock_goes_with_the_process_that_held_it(
    documents: LocalDocuments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from ml_service.platforms.local.documents import LocalDocuments\n"
        "with LocalDocuments(Path(sys.argv[1])).lock('a'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "documents")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PlatformError, match="still busy"), documents.lock("a"):
            pass
        holder.kill()
        holder.wait()
    with documents.lock("a"):
        pass
