"""Files of requests that outlive their worker: what is whole is read, what is torn is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from insurance_claims.monitoring.spool import (
    Origin,
    Seen,
    Spool,
    Spooled,
    SpoolError,
    _lock,
    bytes_of,
    claimed,
    to_bytes,
    spools,
)

ORIGIN = Origin("claims", 3, ("ps_ind_01",))
SEEN: Sequence[Seen] = [
    (1.5, "one", to_bytes([[1.0, 2.0]]), to_bytes([0.25])),
    (2.5, "zw\u00f6lf", b"", b"x" * 300),
]


def content(path: Path) -> Spooled | None:
    """What a file holds, if nobody writes it."""
    with claimed(path) as found:
        return found


def written(folder: Path) -> tuple[Path, int, int]:
    """A file with both requests, and where the first and the second of them begin."""
    spool = Spool(folder, ORIGIN)
    begin = spool.size
    spool.append(SEEN[:1])
    middle = spool.size
    spool.append(SEEN[1:])
    spool.release()
    [path] = spools(folder)
    return path, begin, middle


def test_what_was_appended_is_read_once_it_is_released(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", ORIGIN)
    spool.append(SEEN[:1])
    spool.append(SEEN[1:])
    [path] = spools(tmp_path / "spool")
    assert content(path) is None
    assert bytes_of(tmp_path / "spool") == spool.size
    spool.release()
    assert content(path) == Spooled(ORIGIN, SEEN, False)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_one_of_two_gets_it_and_the_other_does_not_get_what_is_gone(tmp_path: Path) -> None:
    Spool(tmp_path, ORIGIN).release()
    [path] = spools(tmp_path)
    with claimed(path) as first, claimed(path) as second:
        assert first is not None and second is None
    number = os.open(path, os.O_RDWR)
    path.unlink()
    assert not _lock(number)
    os.close(number)
    assert content(path) is None


def test_wherever_a_file_breaks_off_what_is_whole_before_is_read(tmp_path: Path) -> None:
    path, begin, middle = written(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = content(path)
        assert found is not None
        kept = 0 if length < middle else 1
        assert found.seen == (SEEN[:kept] if length >= begin else ())
        assert (found.origin is None) == (length < begin)
        assert found.torn == (length not in (0, begin, middle))


def test_a_byte_that_changed_and_what_follows_it_is_not_believed(tmp_path: Path) -> None:
    path, _, middle = written(tmp_path)
    whole = path.read_bytes()
    for place in range(middle, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert content(path) == Spooled(ORIGIN, SEEN[:1], True)


def test_a_disk_that_is_full_in_the_middle_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, ORIGIN)
    real = os.write
    room = [100]

    def write(number: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = real(number, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        spool.append(SEEN)
    room[0] = 10_000
    spool.append(SEEN)
    spool.release()
    [path] = spools(tmp_path)
    assert content(path) == Spooled(ORIGIN, SEEN, False)
    room[0] = 10
    with pytest.raises(OSError, match="No space"):
        Spool(tmp_path, ORIGIN)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_an_id_that_is_no_text_is_kept_as_one_that_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ORIGIN)
    spool.append([(0.0, "a\ud800", b"", b"")])
    spool.release()
    found = content(spools(tmp_path)[0])
    assert found is not None and found.seen[0][1] == "a?"


def test_rows_of_another_schema_are_refused(tmp_path: Path) -> None:
    Spool(tmp_path, Origin("claims", 3, (), "0")).release()
    with pytest.raises(SpoolError, match="version 0 of the schema"):
        content(spools(tmp_path)[0])


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(SpoolError, match="this user alone"):
        Spool(tmp_path, ORIGIN)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SpoolError, match="this user alone"):
        Spool(tmp_path / "link", ORIGIN)
    assert not spools(tmp_path)
