"""The emulator's Application Insights and Log Analytics, beside what tests/ml_service/monitoring sends through them."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from insurance_claims.telemetry import Connection, Emitter
from ml_service.monitoring.log_analytics import azure_telemetry
from ml_service.monitoring.telemetry import Kind, TelemetryError
from tests.azureml_emulator.in_process import Site
from tests.azureml_emulator.services import telemetry
from tests.azureml_emulator.telemetry_client import (
    Credential,
    connection_of,
    reader_of,
    trusted,
)

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def _trusted(site: Site) -> Iterator[None]:
    with trusted(site):
        yield


def _get(site: Site, path: str) -> Any:
    token = Credential(site).get_token("arm").token
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(site.context.base_url + path, headers=headers)
    trust = ssl.create_default_context(cafile=str(site.folder / "tls" / "bundle.pem"))
    with urllib.request.urlopen(request, timeout=20, context=trust) as response:
        return json.loads(response.read())


def test_a_workspace_names_its_component_which_names_where_to_send_and_to_ask(site: Site) -> None:
    workspace = site.workspace("named")
    found = _get(site, workspace.path)["properties"]["applicationInsights"]
    component = _get(site, found + "?api-version=2020-02-02")["properties"]
    assert Connection.parse(component["ConnectionString"]) == connection_of(site, workspace)
    logs = _get(site, component["WorkspaceResourceId"] + "?api-version=2022-10-01")
    assert logs["properties"]["customerId"] == telemetry.customer_id(workspace)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(site, found.replace("named", "another"))


def test_workspaces_keep_their_telemetry_apart_and_over_a_restart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    workspaces = [site.workspace(name) for name in ("one", "two")]
    for workspace in workspaces:
        emitter = Emitter(connection_of(site, workspace), "training", {})
        emitter.event("sent", {"to": workspace.name})
        assert emitter.flush(20)
    site.stop()
    again = Site(tmp_path)
    with trusted(again):
        for workspace in workspaces:
            [event] = reader_of(again, again.workspace(workspace.name)).events("sent", BEGIN)
            assert event.properties["to"] == workspace.name
    again.stop()


def test_a_bad_envelope_is_refused_alone(site: Site) -> None:
    workspace = site.workspace("bad")
    connection = connection_of(site, workspace)
    good = {
        "iKey": connection.key,
        "time": "2026-11-21T10:00:00Z",
        "data": {"baseType": "EventData", "baseData": {"name": "good"}},
    }
    for envelopes, status in (
        ([good, {**good, "iKey": "x"}, {**good, "time": "now"}, 1], 206),
        ([{**good, "iKey": "x"}], 400),
        ([good], 200),
    ):
        body = json.dumps(envelopes).encode()
        request = urllib.request.Request(connection.endpoint + "/v2.1/track", body)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                assert response.status == status
        except urllib.error.HTTPError as error:
            assert error.code == status
    assert len(list(reader_of(site, workspace).records(Kind.EVENT, BEGIN))) == 2


def test_a_query_that_is_wrong_is_an_error_with_its_reason(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(site, site.workspace("asked"))
    monkeypatch.setattr(reader, "_selection", lambda *_: ["AppEvents", "where Nothing == 1"])
    with pytest.raises(TelemetryError, match="Failed to resolve scalar expression named 'Nothing'"):
        list(reader.events("x", BEGIN))


def test_an_unknown_workspace_is_an_error(site: Site) -> None:
    reader = azure_telemetry(Credential(site), "no-such-id", None, site.context.base_url)
    with pytest.raises(TelemetryError, match="no-such-id refuses a query: .*could not be found"):
        list(reader.events("x", BEGIN))
