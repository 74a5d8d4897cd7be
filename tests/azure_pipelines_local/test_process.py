"""Running processes: all that they print arrives, in order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from azure_pipelines_local.process import Ended, end_group, run


def ended(folder: Path, script: str, watch_stderr: bool = False) -> tuple[Ended, list[str]]:
    lines: list[str] = []
    groups: list[int] = []
    result = run(
        ["bash", "-c", script],
        folder,
        os.environ,
        lines.append,
        lambda: False,
        None,
        groups,
        watch_stderr,
    )
    for group in groups:
        end_group(group)
    return result, lines


def test_much_output_arrives_whole_and_in_order(tmp_path: Path) -> None:
    result, lines = ended(tmp_path, "seq 200000")
    assert result == Ended(0, timed_out=False, cancelled=False, wrote_errors=False)
    assert lines == [str(number) for number in range(1, 200001)]


def test_the_last_line_needs_no_end_and_bytes_no_meaning(tmp_path: Path) -> None:
    _, lines = ended(tmp_path, r"printf 'a\r\n\xff\xfe\nlast'")
    assert lines == ["a", "\ufffd\ufffd", "last"]


@pytest.mark.parametrize(("script", "wrote"), [("echo x", False), ("echo x >&2", True)])
def test_stderr_is_noticed_where_it_is_asked_for(tmp_path: Path, script: str, wrote: bool) -> None:
    result, lines = ended(tmp_path, script, watch_stderr=True)
    assert result.wrote_errors is wrote
    assert lines == ["x"]


def test_what_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    result, lines = ended(tmp_path, "sleep 600 & echo done")
    assert result.exit_code == 0 and lines == ["done"]


def test_a_signal_is_an_exit_code_below_zero(tmp_path: Path) -> None:
    assert ended(tmp_path, "kill -TERM $$")[0].exit_code == -15


def test_a_command_or_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        run(["no-such-command"], tmp_path, {}, print, lambda: False, None, [])
    with pytest.raises(OSError):
        run(["true"], tmp_path / "none", os.environ, print, lambda: False, None, [])
