"""What the processes of an endpoint are started with, and what is remembered of their starts."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_service.platforms.local import worker_starts
from ml_service.platforms.local.programs import Programs, Serving
from ml_service.platforms.local.supervision import Program

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
SECRET = "InstrumentationKey=8d5f;IngestionEndpoint=http://127.0.0.1:9"


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "production", tmp_path / "models" / "claims", Serving(workers=2))


def servers(programs: Programs) -> list[Program]:
    return programs.of(8000, {1: 8001, 2: 8002})[1:]


def test_a_server_gets_the_callers_telemetry_and_keeps_it(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, SECRET)
    programs.keep_variables(1)
    monkeypatch.setenv(CONNECTION, "another")
    programs.keep_variables(2)
    monkeypatch.delenv(CONNECTION)
    # A program that changes is restarted: what a later command has in its environment must not do that.
    one, two = servers(programs)
    assert (one.env[CONNECTION], two.env[CONNECTION]) == (SECRET, "another")
    for program in (one, two):
        assert program.env["MLOPS_ENVIRONMENT"] == "production"
        assert not any(program.env[CONNECTION] in word for word in program.argv)
    for file in (tmp_path / "production" / "servers").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_telemetry_a_server_has_none(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONNECTION, raising=False)
    programs.keep_variables(1)
    assert all(CONNECTION not in program.env for program in servers(programs))


def test_the_router_takes_as_many_requests_as_the_workers_can(programs: Programs) -> None:
    router, server, _ = programs.of(8000, {1: 8001, 2: 8002})
    assert router.argv[router.argv.index("--workers") + 1] == "2"
    assert server.argv[server.argv.index("--workers") + 1] == "2"


def test_restarts_are_counted(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.keep_variables(1)
    assert (programs.restarts(1, 60), programs.last_start(1)) == (0, 0.0)
    monkeypatch.setenv(worker_starts.VARIABLE, servers(programs)[0].env[worker_starts.VARIABLE])
    niceness: list[int] = []
    monkeypatch.setattr(os, "nice", niceness.append)
    for expected in (0, 0, 1, 2):
        # As gunicorn does in each new worker.
        worker_starts.post_fork(None, None)
        assert programs.restarts(1, 60) == expected
    assert abs(programs.last_start(1) - time.time()) < 60
    assert niceness == [worker_starts.NICENESS] * 4
    assert programs.restarts(1, seconds=-1) == 0
    assert programs.restarts(2, 60) == 0
    programs.forget_starts(1)
    assert programs.restarts(1, 60) == 0


def test_a_torn_line_is_no_start(programs: Programs, tmp_path: Path) -> None:
    file = tmp_path / "production" / "servers" / "model-1.starts"
    file.parent.mkdir(parents=True)
    file.write_text(f"{time.time()}\n" * 3 + "17.3.")
    assert programs.restarts(1, 60) == 1


def test_what_is_kept_for_others_goes(programs: Programs, tmp_path: Path) -> None:
    for version in (1, 2):
        programs.keep_variables(version)
    programs.tidy([2])
    kept = [file.name for file in (tmp_path / "production" / "servers").iterdir()]
    assert kept == ["model-2.json"]


def test_the_worker_that_notes_nothing_starts_as_well(tmp_path: Path) -> None:
    script = f"import runpy; runpy.run_path({worker_starts.__file__!r})['post_fork'](None, None)"
    for value in ("", str(tmp_path / "missing" / "starts")):
        env = {**os.environ, worker_starts.VARIABLE: value}
        subprocess.run([sys.executable, "-c", script], env=env, check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
