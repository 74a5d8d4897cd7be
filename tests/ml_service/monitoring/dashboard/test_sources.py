"""Where the dashboard's content comes from: the command, a platform's documents, and Log Analytics."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import Observations
from insurance_claims.telemetry import Emitter
from ml_service.cli.monitor import operations_of
from ml_service.monitoring.dashboard.panels import NO_OPERATIONS, Panels
from ml_service.monitoring.dashboard.span import Span
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.rollout.audit import AuditRecord
from ml_service.rollout.control import control_of
from ml_service.rollout.plan import load_plan
from ml_service.rollout.transitions import begin
from ml_service.settings import Settings
from tests.azureml_emulator.in_process import Site
from tests.azureml_emulator.telemetry_client import connection_of, reader_of, trusted

NOW = datetime(2026, 11, 21, 14, tzinfo=UTC)


@pytest.fixture
def local(tmp_path: Path) -> LocalPlatform:
    """A platform of which only documents are needed."""
    return LocalPlatform(Settings.model_validate({"MLOPS_HOME": tmp_path}))


def test_deployments_and_rollouts_are_those_of_the_platforms_documents(
    local: LocalPlatform,
) -> None:
    operations = operations_of(local)
    assert (list(operations.marks()), list(operations.rollouts())) == ([], [])
    control = control_of(local)
    for key, after in (("a", 3), ("b", None)):
        said = ("someone", "deployed", "first", "production", None, after)
        control.audit.append(AuditRecord(key, NOW, *said))
    control.store.save(begin("production", 3, 4, load_plan(), "someone", NOW))
    marks = [(mark.environment, mark.what, mark.version, mark.who) for mark in operations.marks()]
    assert marks == [
        ("production", "deployed", "3", "someone"),
        ("production", "deployed", "", "someone"),
    ]
    [rollout] = operations.rollouts()
    assert (rollout["production"], rollout["canary"], rollout["active"]) == (3, 4, True)
    assert rollout["title"].startswith("production: version 3 to 4")


def test_thresholds_are_those_of_the_alerts(local: LocalPlatform) -> None:
    thresholds = operations_of(local).thresholds
    assert thresholds["process_memory_mb"] > 0 and thresholds["process_cpu_percent"] == 90


def test_the_command_serves_the_page_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ml_service", "monitor", "--port", "0"]
    environ = {**os.environ, "MLOPS_HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as running:
        assert running.stdout is not None
        address = next(word for word in running.stdout.readline().split() if "://" in word)
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        connection.request("GET", "/")
        assert b"Insurance claims" in connection.getresponse().read()
        connection.request("GET", "/api/rollout")
        assert json.loads(connection.getresponse().read()) == {"rollouts": []}
        connection.close()
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0


@pytest.fixture
def azure_panels(tmp_path: Path) -> Iterator[tuple[Emitter, Panels]]:
    """What sends to an emulated Application Insights, and the panels over it."""
    site = Site(tmp_path)
    workspace = site.workspace("claims")
    with trusted(site):
        emitter = Emitter(
            connection_of(site, workspace), "scoring", {"MLOPS_ENVIRONMENT": "production"}
        )
        yield emitter, Panels(reader_of(site, workspace), NO_OPERATIONS)
    site.stop()


def test_the_same_panels_are_made_of_log_analytics(azure_panels: tuple[Emitter, Panels]) -> None:
    emitter, panels = azure_panels
    seen = Observations.of([3.0, 5.0], [0.02, 0.06], errors=1)
    emitter.event(wire.EVENT, {**wire.encode(seen), "model_version": "7", "refused": '{"row":2}'})
    emitter.metric("process_memory_mb", 200.0, {"model_version": "7"})
    said = {"step": "train", "pipeline_run_id": "f00d"}
    emitter.event("step_started", said)
    emitter.exception(ValueError("column ps_ind_01 is gone"), said)
    between = {"since": "2026-08-21T12:00:00+00:00", "until": "2026-08-22T12:00:00+00:00"}
    emitter.event("performance", {"model_version": "7", **between}, {"gini": 0.25})
    emitter.event("step_ended", {**said, "outcome": "failed"}, {"seconds": 2.0})
    assert emitter.flush(20)
    now = datetime.now(UTC)
    span = Span.of(now - timedelta(hours=1), now + timedelta(seconds=1))
    scoring = panels.scoring(span, None)
    assert scoring["environment"] == "production"
    totals = scoring["versions"]["7"]["totals"]
    assert (totals["requests"], totals["errors"], totals["refused"]) == (3, 1, {"row": 2})
    [values] = panels.resources(span, None)["process_memory_mb"]["processes"].values()
    assert values["values"] == [200.0]
    [run] = panels.training(span, None)["runs"]
    assert (run["id"], run["outcome"]) == ("f00d", "failed")
    assert run["steps"][0]["error"] == "ValueError: column ps_ind_01 is gone"
    [judged] = panels.performance(span, None)["versions"]["7"]
    assert (judged["gini"], judged["lift"]) == (0.25, None)
    assert panels.ahead(now) is None
