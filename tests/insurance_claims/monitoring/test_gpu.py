"""What is reported of graphics cards, from programs that answer as NVIDIA's tool does, or do not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from insurance_claims.monitoring import gpu
from insurance_claims.monitoring.gpu import GpuWatch


def _tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of this name; says where it notes its calls."""
    program, calls = folder / "nvidia-smi", folder / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return calls


def _watched(calls: Path, count: int) -> dict[str, float]:
    """What is told after so many calls."""
    watch, end = GpuWatch(), time.monotonic() + 60
    while not calls.exists() or len(calls.read_text().splitlines()) < count:
        assert time.monotonic() < end
        time.sleep(0.01)
    return watch.end()


def test_cards_are_added_up_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_BETWEEN_SECONDS", 0.01)
    first, later = "20, 1000\\n40, 500\\n", "100, 3000\\n100, 700\\n"
    script = f"[ $(wc -l < {tmp_path}/calls) = 1 ] && printf '{first}' || printf '{later}'"
    calls = _tool(tmp_path, script, monkeypatch)
    figures = _watched(calls, 2)
    lines = calls.read_text().splitlines()
    mean = (30 + 100 * (len(lines) - 1)) / len(lines)
    assert figures == {"gpu_percent": pytest.approx(mean), "gpu_memory_mb": 3700.0}
    assert {*lines} == {" ".join(gpu._QUERY)}


def test_what_a_card_does_not_tell_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _tool(tmp_path, "printf '[N/A], 1000\\n[Not Supported], 24\\nodd\\n'", monkeypatch)
    assert _watched(calls, 1) == {"gpu_memory_mb": 1024.0}


@pytest.mark.parametrize("script", ["exec sleep 60", "echo 'no devices were found'; exit 9"])
def test_a_tool_that_hangs_or_fails_is_not_asked_again_and_holds_up_nobody(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(gpu, "_BETWEEN_SECONDS", 0.01)
    calls = _tool(tmp_path, script, monkeypatch)
    watch = GpuWatch()
    assert watch._thread is not None
    watch._thread.join(60)
    assert not watch._thread.is_alive()
    assert watch.end() == {}
    assert len(calls.read_text().splitlines()) == 1


def test_without_a_driver_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    watch = GpuWatch()
    assert watch._thread is None and watch.end() == {}
